"""Hostile and broken clients: the broker lives, and others are served."""

import os
import random
import socket

import pytest

import streaming_pb2 as pb
from broker_process import BrokerProcess, wait_until
from nats_socket import NATSSocket, nuid
from streaming_client import StreamingClient


def resident_mb(broker):
    with open(f"/proc/{broker.process.pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


def test_ten_thousand_connections_that_never_say_connect():
    with BrokerProcess() as broker:
        idle = []
        try:
            for _ in range(10000):
                connection = socket.socket()
                connection.connect(("127.0.0.1", broker.port))
                idle.append(connection)
            with StreamingClient(broker) as client:
                subscription = client.subscribe("a")
                client.store("a", 100)
                subscription.wait(100)
                wait_until(lambda: broker.monitor("/varz")["connections"] >= 10000, "all connections to be counted")
            assert resident_mb(broker) < 400
        finally:
            for connection in idle:
                connection.close()
        with NATSSocket(broker.port) as after:
            assert after.fence() == []


def test_random_bytes_on_many_connections():
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    print(f"seed {seed}: SEED={seed} Tests/EndToEnd/run -k random_bytes")
    chance = random.Random(seed)
    words = [b"PUB ", b"SUB ", b"HPUB ", b"UNSUB ", b"CONNECT {", b"PING\r\n", b"\r\n", b"a.b", b"*", b">", b" 5", b"-1",
             b"99999999999", b"{\"verbose\":", b"\x00", b"\xff\xfe", b"NATS/1.0", b"_STAN.pub.conformance.x"]
    with BrokerProcess() as broker, StreamingClient(broker) as client:
        subscription = client.subscribe("a")
        for _ in range(300):
            with socket.create_connection(("127.0.0.1", broker.port)) as connection:
                data = b"".join(chance.choice(words) if chance.random() < 0.8 else chance.randbytes(chance.randrange(40))
                                for _ in range(chance.randrange(1, 60)))
                try:
                    connection.sendall(data)
                except OSError:
                    pass  # it was closed on us, which is an answer
        client.store("a", 10)
        subscription.wait(10)


def test_random_protobuf_on_every_streaming_subject():
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    print(f"seed {seed}: SEED={seed} Tests/EndToEnd/run -k random_protobuf")
    chance = random.Random(seed)
    # The samples name a client of their own: a close request that happens to be valid is obeyed.
    with BrokerProcess() as broker, StreamingClient(broker) as client, StreamingClient(broker, "victim") as victim:
        subscription = client.subscribe("a", manual=True)
        response = client.response
        subjects = [client.discover, response.pubPrefix + ".a", response.subRequests, response.unsubRequests,
                    response.closeRequests, response.subCloseRequests, response.pingRequests, subscription.ack_inbox]
        samples = [victim.publish_message("a", b"data").SerializeToString(),
                   pb.SubscriptionRequest(clientID="victim", subject="a", inbox="i", maxInFlight=1, ackWaitInSecs=1,
                                          durableName="d").SerializeToString(),
                   pb.ConnectRequest(clientID="x" * 10, heartbeatInbox="_INBOX.x", connID=b"y").SerializeToString()]
        for _ in range(4000):
            data = bytearray(chance.choice(samples))
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            data = bytes(data[:chance.randrange(len(data) + 1)])
            if chance.random() < 0.2:
                data = chance.randbytes(chance.randrange(64))
            client.nats.publish(chance.choice(subjects), data, client.answer_prefix + "." + nuid())
        client._answers.clear()
        client.settle()
        assert client.ping() == ""
        client.store("a", b"still here")


@pytest.mark.parametrize("half", [b"PUB a 100\r\nabc", b"CONNECT {\"verbose\"", b"SUB a", b"P", b"HPUB a 12 20\r\nNATS/1.0"])
def test_connections_left_in_the_middle_of_an_operation(half):
    with BrokerProcess() as broker:
        left = []
        for _ in range(50):
            connection = socket.create_connection(("127.0.0.1", broker.port))
            connection.sendall(half)
            left.append(connection)
        with StreamingClient(broker) as client:
            client.store("a", 10)
        for connection in left:
            connection.close()
        wait_until(lambda: broker.monitor("/varz")["connections"] == 0, "the connections to be forgotten")
