"""A NATS Streaming client in the test's own hands: every request and answer is a protobuf message over a raw
connection, so that a test can say and see what no library lets it. One thread; what comes in is handled while
the test waits for something (`pump`)."""

import time

import streaming_pb2 as pb
from broker_process import CLUSTER, PATIENCE
from nats_socket import Message, NATSSocket, Silence, nuid

# Error texts, section 3.0 of the description.
INVALID_CONNECT = "stan: invalid connection request"
INVALID_CLIENT_ID = "stan: invalid clientID: only alphanumeric and `-` or `_` characters allowed"
DUPLICATE_CLIENT = "stan: clientID already registered"
INVALID_PUBLISH = "stan: invalid publish request"
INVALID_SUBSCRIBE = "stan: invalid subscription request"
MISSING_CLIENT = "stan: clientID missing"
INVALID_ACK_WAIT = "stan: invalid ack wait time, should be >= 1s"
INVALID_MAX_IN_FLIGHT = "stan: invalid MaxInflight, should be >= 1"
INVALID_START = "stan: invalid start position"
INVALID_SUBJECT = "stan: invalid subject"
UNKNOWN_CLIENT = "stan: unknown clientID"
DURABLE_QUEUE_COLON = "stan: durable name of a durable queue subscriber can't contain the character ':'"
DUPLICATE_DURABLE = "stan: duplicate durable registration"
INVALID_UNSUBSCRIBE = "stan: invalid unsubscribe request"
UNKNOWN_CHANNEL = "stan: unknown channel"
INVALID_SUBSCRIPTION = "stan: invalid subscription"
INVALID_CLOSE = "stan: invalid close request"
TOO_MANY_CHANNELS = "too many channels"
TOO_MANY_SUBSCRIPTIONS = "too many subscriptions per channel"
REPLACED = "client has been replaced or is no longer registered"

GARBAGE = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"


class Subscription:
    def __init__(self, client, channel, inbox, sid, manual):
        self.client, self.channel, self.inbox, self.sid, self.manual = client, channel, inbox, sid, manual
        self.ack_inbox = ""
        #: Messages as they came (MsgProto).
        self.messages = []
        #: Events in the order they came on the connection: "response" and message sequences.
        self.order = []

    @property
    def sequences(self):
        return [message.sequence for message in self.messages]

    def wait(self, count, timeout=None):
        """Waits until `count` messages have come; returns them all."""
        self.client.pump(lambda: len(self.messages) >= count,
                         lambda: f"{count} messages on {self.channel}, have {len(self.messages)}: "
                                 f"{self.sequences[:5]} … {self.sequences[-5:]}", timeout)
        return self.messages

    def ack(self, *sequences):
        for sequence in sequences:
            self.client.nats.publish(self.ack_inbox, pb.Ack(subject=self.channel, sequence=sequence)
                                     .SerializeToString())

    def unsubscribe(self, **changes):
        return self.client.unsubscribe(self, **changes)

    def close(self, **changes):
        return self.client.close_subscription(self, **changes)


class StreamingClient:
    def __init__(self, broker, client_id=None, connect=True, protocol=1, answer_heartbeats=True,
                 no_responders=True, cluster=None, **request):
        self.broker = broker
        self.cluster = cluster or getattr(broker, "cluster", CLUSTER)
        self.client_id = "client-" + nuid()[:6] if client_id is None else client_id
        self.protocol = protocol
        self.connection_id = nuid().encode() if protocol >= 1 else b""
        self.answer_heartbeats = answer_heartbeats
        self.heartbeats = 0
        self.no_responders = no_responders
        self._handlers = {}
        self._answers = {}
        self.acks = []  # PubAcks of publishes sent with publish_async, in the order they came
        self.subscriptions = []
        self.open_socket()
        if connect:
            self.response = self.connect(**request)
            assert self.response.error == "", self.response.error

    def open_socket(self):
        """Opens the NATS connection, and the inboxes; called again after a restart of the broker, as a real
        client's NATS library does."""
        self.nats = NATSSocket(self.broker.port, no_responders=self.no_responders)
        fresh = not hasattr(self, "heartbeat_inbox")
        if fresh:
            self.heartbeat_inbox = "_INBOX." + nuid()
            self.ack_inbox = "_STAN.acks." + nuid()
            self.answer_prefix = "_INBOX." + nuid()
        self._handlers = {}
        self._listen(self.heartbeat_inbox, self._on_heartbeat)
        self._listen(self.ack_inbox, self._on_publish_ack)
        self._listen(self.answer_prefix + ".*", self._on_answer)
        for subscription in self.subscriptions:
            subscription.sid = self._listen(subscription.inbox, self._deliver_to(subscription))
        self.nats.fence()

    def reconnect(self):
        """What a NATS library does after the connection was lost: a new connection, the same subscriptions."""
        self.nats.close()
        self.open_socket()

    def _listen(self, subject, handler):
        sid = self.nats.subscribe(subject)
        self._handlers[sid] = handler
        return sid

    def _on_heartbeat(self, message):
        self.heartbeats += 1
        if self.answer_heartbeats:
            self.nats.publish(message.reply)

    def _on_publish_ack(self, message):
        self.acks.append(pb.PubAck.FromString(message.data))

    def _on_answer(self, message):
        self._answers[message.subject] = message

    def _deliver_to(self, subscription):
        def deliver(message):
            parsed = pb.MsgProto.FromString(message.data)
            subscription.messages.append(parsed)
            subscription.order.append(parsed.sequence)
            if not subscription.manual and subscription.ack_inbox:
                subscription.ack(parsed.sequence)
        return deliver

    # Waiting

    def _handle(self, operation):
        if isinstance(operation, Message):
            handler = self._handlers.get(operation.sid)
            if handler:
                handler(operation)
        elif operation.startswith("-ERR"):
            raise AssertionError(operation)

    def pump(self, until, what, timeout=None):
        """Handles what comes in until `until()` is true; `what` (text, or a function that makes it) names the failure."""
        deadline = time.monotonic() + (timeout or PATIENCE)
        while not until():
            left = deadline - time.monotonic()
            if left <= 0:
                said = what() if callable(what) else what
                raise AssertionError(f"waited {timeout or PATIENCE} s for: {said}")
            try:
                self._handle(self.nats.next(left))
            except Silence:
                pass

    def settle(self):
        """Returns when everything that the broker had to say about what this client sent before has arrived:
        a PING of the connection, then a ping of the streaming protocol, then a PING again."""
        for operation in self.nats.fence():
            self._handle(operation)
        if self.connection_id and getattr(self, "response", None) and self.response.pingRequests:
            self.ping()
        for operation in self.nats.fence():
            self._handle(operation)

    # Requests

    def send_connects(self, *requests):
        """Sends a connect request for each of the changes, all in one write, so that the broker reads them together.
        Waits for nothing; returns the inboxes of the answers, as they will be found in `answered`."""
        keys, data = [], b""
        for changes in requests:
            keys.append(f"{self.answer_prefix}.{nuid()}")
            fields = {"clientID": self.client_id, "heartbeatInbox": self.heartbeat_inbox, "protocol": self.protocol,
                      "connID": self.connection_id}
            fields.update(changes)
            payload = pb.ConnectRequest(**fields).SerializeToString()
            data += f"PUB {self.discover} {keys[-1]} {len(payload)}\r\n".encode() + payload + b"\r\n"
        self.nats.send(data)
        return keys

    @property
    def answered(self):
        """The inboxes of the answers that have come, in their order."""
        return list(self._answers)

    def request(self, subject, payload, timeout=None):
        """The payload of the answer; None when there are no responders."""
        inbox = f"{self.answer_prefix}.{nuid()}"
        self.nats.publish(subject, payload, inbox)
        self.pump(lambda: inbox in self._answers, f"an answer on {subject}", timeout)
        answer = self._answers.pop(inbox)
        if answer.headers.startswith(b"NATS/1.0 503"):
            return None
        return answer.data

    @property
    def discover(self):
        return "_STAN.discover." + self.cluster

    def connect(self, raw=None, **changes):
        fields = {"clientID": self.client_id, "heartbeatInbox": self.heartbeat_inbox, "protocol": self.protocol,
                  "connID": self.connection_id}
        if self.protocol >= 1:
            fields.update(pingInterval=5, pingMaxOut=3)
        fields.update(changes)
        payload = pb.ConnectRequest(**fields).SerializeToString() if raw is None else raw
        answer = self.request(self.discover, payload)
        assert answer is not None, "no responders on the discover subject"
        response = pb.ConnectResponse.FromString(answer)
        if not response.error:
            self.response = response
        return response

    def ping(self, connection_id=None):
        """The error text of the ping's answer ("" when all is well)."""
        payload = pb.Ping(connID=self.connection_id if connection_id is None else connection_id).SerializeToString()
        return pb.PingResponse.FromString(self.request(self.response.pingRequests, payload)).error

    def publish_message(self, channel, data=b"", guid=None, **changes):
        fields = {"clientID": self.client_id, "guid": nuid() if guid is None else guid, "subject": channel,
                  "data": data, "connID": self.connection_id}
        fields.update(changes)
        return pb.PubMsg(**fields)

    def publish(self, channel, data=b"", guid=None, subject=None, **changes):
        """One publish and its PubAck."""
        message = self.publish_message(channel, data, guid, **changes)
        answer = self.request(f"{self.response.pubPrefix}.{subject or channel}", message.SerializeToString())
        assert answer is not None, "no responders on the publish subject"
        return pb.PubAck.FromString(answer)

    def store(self, channel, *payloads):
        """Publishes each payload (or as many numbered ones as the one int says) and expects success."""
        if len(payloads) == 1 and isinstance(payloads[0], int):
            payloads = [str(number).encode() for number in range(1, payloads[0] + 1)]
        first = len(self.acks)
        for payload in payloads:
            self.publish_async(channel, payload)
        self.pump(lambda: len(self.acks) >= first + len(payloads), f"{len(payloads)} publish acks on {channel}")
        errors = [ack.error for ack in self.acks[first:] if ack.error]
        assert not errors, errors

    def publish_async(self, channel, data=b"", guid=None, **changes):
        """Sends one publish whose ack will be found in `acks`; returns its guid."""
        message = self.publish_message(channel, data, guid, **changes)
        self.nats.publish(f"{self.response.pubPrefix}.{channel}", message.SerializeToString(), self.ack_inbox)
        return message.guid

    def request_subscription(self, channel, raw=None, **changes):
        fields = {"clientID": self.client_id, "subject": channel, "inbox": "_INBOX." + nuid(), "maxInFlight": 1024,
                  "ackWaitInSecs": 30, "startPosition": pb.NewOnly}
        fields.update(changes)
        payload = pb.SubscriptionRequest(**fields).SerializeToString() if raw is None else raw
        answer = self.request(self.response.subRequests, payload)
        assert answer is not None, "no responders on the subscribe subject"
        return pb.SubscriptionResponse.FromString(answer)

    def subscribe(self, channel, queue="", durable="", start=pb.NewOnly, sequence=0, delta=0, max_in_flight=1024,
                  ack_wait=30, manual=False, expect="", inbox=None, client_id=None):
        """Subscribes; returns the Subscription, or, with `expect`, checks that the answer is that error."""
        subscription = Subscription(self, channel, inbox or "_INBOX." + nuid(), None, manual)
        subscription.sid = self._listen(subscription.inbox, self._deliver_to(subscription))
        request = pb.SubscriptionRequest(
            clientID=self.client_id if client_id is None else client_id, subject=channel, qGroup=queue,
            inbox=subscription.inbox, maxInFlight=max_in_flight, ackWaitInSecs=ack_wait, durableName=durable,
            startPosition=start, startSequence=sequence, startTimeDelta=delta)
        answer_inbox = f"{self.answer_prefix}.{nuid()}"
        self.nats.publish(self.response.subRequests, request.SerializeToString(), answer_inbox)
        self.pump(lambda: answer_inbox in self._answers, f"the answer to a subscribe on {channel}")
        answer = self._answers.pop(answer_inbox)
        assert not answer.headers.startswith(b"NATS/1.0 503"), "no responders on the subscribe subject"
        assert subscription.order == [], "a message came before the subscription's response"
        response = pb.SubscriptionResponse.FromString(answer.data)
        assert response.error == expect, f"subscribe on {channel}: {response.error!r}, expected {expect!r}"
        if expect:
            return None
        subscription.ack_inbox = response.ackInbox
        self.subscriptions.append(subscription)
        return subscription

    def _end(self, subject, subscription, changes):
        fields = {"clientID": self.client_id, "subject": subscription.channel, "inbox": subscription.ack_inbox}
        fields.update(changes)
        answer = self.request(subject, pb.UnsubscribeRequest(**fields).SerializeToString())
        assert answer is not None, "no responders"
        error = pb.SubscriptionResponse.FromString(answer).error
        if not error:
            assert answer == b"", f"a success is an empty payload, got {answer!r}"
        return error

    def unsubscribe(self, subscription, **changes):
        return self._end(self.response.unsubRequests, subscription, changes)

    def close_subscription(self, subscription, **changes):
        return self._end(self.response.subCloseRequests, subscription, changes)

    def close_session(self, client_id=None):
        """The close request of the streaming protocol; returns the error text."""
        payload = pb.CloseRequest(clientID=self.client_id if client_id is None else client_id).SerializeToString()
        answer = self.request(self.response.closeRequests, payload)
        assert answer is not None, "no responders on the close subject"
        error = pb.CloseResponse.FromString(answer).error
        if not error:
            assert answer == b"", f"a success is an empty payload, got {answer!r}"
        return error

    def disconnect(self):
        """Cuts the NATS connection without a word, as a crash does."""
        self.nats.close()

    def close(self):
        self.nats.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
