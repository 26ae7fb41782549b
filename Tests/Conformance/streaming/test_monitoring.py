"""The monitoring pages (description 6; checklist 10.10)."""

import re

import pytest

import streaming_pb2 as pb
from broker_process import CLUSTER, BrokerProcess
from streaming_client import StreamingClient


def test_serverz_counts_through_a_session(broker):
    page = broker.monitor("/streaming/serverz")
    assert page["cluster_id"] == CLUSTER and page["state"] == "STANDALONE"
    assert {"server_id", "version", "go", "now", "start_time", "uptime"} <= set(page)
    assert [page[k] for k in ("clients", "subscriptions", "channels", "total_msgs", "total_bytes")] == [0] * 5
    with StreamingClient(broker) as client:
        subscription = client.subscribe("a")
        durable = client.subscribe("a", durable="d")
        client.store("a", b"x" * 10, b"y" * 10)
        subscription.wait(2)
        durable.wait(2)
        page = broker.monitor("/streaming/serverz")
        assert [page[k] for k in ("clients", "subscriptions", "channels", "total_msgs", "in_msgs", "out_msgs")] == [
            1, 2, 1, 2, 2, 4]
        assert page["total_bytes"] == sum(m.ByteSize() for m in subscription.messages)
        assert page["out_bytes"] > 0 and page["in_bytes"] > 0
        assert durable.close() == ""
        assert broker.monitor("/streaming/serverz")["subscriptions"] == 2
        assert client.close_session() == ""
    page = broker.monitor("/streaming/serverz")
    assert (page["clients"], page["subscriptions"]) == (0, 1)


def test_a_restart_resets_only_what_counts_this_run(stored):
    with StreamingClient(stored) as client:
        client.store("a", 5)
    before = stored.monitor("/streaming/serverz")
    stored.restart()
    after = stored.monitor("/streaming/serverz")
    assert (after["total_msgs"], after["total_bytes"]) == (before["total_msgs"], before["total_bytes"])
    assert (after["in_msgs"], after["out_msgs"]) == (0, 0)
    assert after["server_id"] != before["server_id"]


def test_uptime_is_written_in_whole_units(broker):
    assert re.fullmatch(r"(\d+h)?(\d+m)?\d+s", broker.monitor("/streaming/serverz")["uptime"])


def test_storez_shows_type_and_limits():
    with BrokerProcess("-mc", "7", "-msu", "8", "-mm", "9", "-mb", "10KB", "-ma", "1h", "-mi", "2h") as broker:
        page = broker.monitor("/streaming/storez")
        assert page["type"] == "MEMORY" and page["cluster_id"] == CLUSTER
        limits = page["limits"]
        assert {k: limits[k] for k in ("max_channels", "max_subscriptions", "max_msgs", "max_bytes", "max_age",
                                       "max_inactivity")} == {
            "max_channels": 7, "max_subscriptions": 8, "max_msgs": 9, "max_bytes": 10240,
            "max_age": 3600 * 10**9, "max_inactivity": 7200 * 10**9}


def test_storez_of_a_file_store(stored):
    page = stored.monitor("/streaming/storez")
    assert page["type"] == "FILE"
    assert page["limits"]["max_channels"] == 100 and page["limits"]["max_msgs"] == 1000000
    assert page["limits"]["max_bytes"] == 1024000000 and page["limits"]["max_subscriptions"] == 1000


@pytest.fixture
def crowd(broker):
    clients = [StreamingClient(broker, f"client-{n}") for n in range(5)]
    for client in clients:
        client.subscribe("b")
        client.subscribe("a", durable="d")
    clients[0].store("c", 3)
    yield broker, clients
    for client in clients:
        client.close()


def test_clientsz_lists_sorted_with_offset_and_limit(crowd):
    broker, _ = crowd
    page = broker.monitor("/streaming/clientsz?limit=2&offset=1")
    assert (page["limit"], page["offset"], page["count"], page["total"]) == (2, 1, 2, 5)
    assert [c["id"] for c in page["clients"]] == ["client-1", "client-2"]
    assert page["clients"][0]["subs_count"] == 2
    assert "subscriptions" not in page["clients"][0]


@pytest.mark.parametrize("query, limit, offset", [
    ("limit=0&offset=-1", 1024, 0), ("limit=x&offset=y", 1024, 0), ("limit=-4", 1024, 0), ("", 1024, 0)])
def test_clientsz_takes_bad_values_as_defaults(crowd, query, limit, offset):
    page = crowd[0].monitor("/streaming/clientsz?" + query)
    assert (page["limit"], page["offset"], page["count"]) == (limit, offset, 5)


def test_clientsz_beyond_the_end_is_an_empty_list(crowd):
    page = crowd[0].monitor("/streaming/clientsz?offset=99")
    assert page["clients"] == [] and page["count"] == 0 and page["total"] == 5


def test_clientsz_of_one_client_with_subscriptions(crowd):
    broker, clients = crowd
    page = broker.monitor("/streaming/clientsz?client=client-3&subs=1")
    assert page["id"] == "client-3" and page["hb_inbox"] == clients[3].heartbeat_inbox
    assert sorted(page["subscriptions"]) == ["a", "b"]
    entry = page["subscriptions"]["a"][0]
    assert entry["client_id"] == "client-3" and entry["durable_name"] == "d" and entry["is_durable"] is True
    assert entry["is_offline"] is False and entry["max_inflight"] == 1024 and entry["ack_wait"] == 30
    assert entry["inbox"].startswith("_INBOX.") and entry["ack_inbox"].startswith("_INBOX.")


def test_an_unknown_client_or_channel_is_404(crowd):
    assert crowd[0].http("/streaming/clientsz?client=nobody") == (404, "Client nobody not found\n")
    assert crowd[0].http("/streaming/channelsz?channel=none") == (404, "Channel none not found\n")


def test_channelsz_lists_names_or_channels(crowd):
    broker, _ = crowd
    page = broker.monitor("/streaming/channelsz")
    assert page["names"] == ["a", "b", "c"] and "channels" not in page
    page = broker.monitor("/streaming/channelsz?subs=1")
    assert "names" not in page
    assert [(c["name"], c["msgs"], c["first_seq"], c["last_seq"], c["subs_count"]) for c in page["channels"]] == [
        ("a", 0, 0, 0, 5), ("b", 0, 0, 0, 5), ("c", 3, 1, 3, 0)]
    assert len(page["channels"][0]["subscriptions"]) == 5
    page = broker.monitor("/streaming/channelsz?offset=99")
    assert "names" not in page and "channels" not in page


def test_channelsz_shows_stalled_pending_and_last_sent(broker):
    with StreamingClient(broker) as client:
        client.subscribe("a", manual=True, max_in_flight=2)
        client.store("a", 5)
        client.settle()
        entry = broker.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"][0]
        assert (entry["is_stalled"], entry["pending_count"], entry["last_sent"]) == (True, 2, 2)
        client.subscriptions[0].ack(1)
        client.settle()
        entry = broker.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"][0]
        assert (entry["is_stalled"], entry["pending_count"], entry["last_sent"]) == (True, 2, 3)


def test_a_durable_queue_member_is_named_by_both(broker):
    with StreamingClient(broker) as client:
        client.subscribe("a", queue="q", durable="d")
        entry = broker.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"][0]
        assert entry["queue_name"] == "d:q" and entry["is_durable"] is True and "durable_name" not in entry


def test_an_offline_durable_keeps_its_client_s_id(broker):
    with StreamingClient(broker, "owner") as client:
        assert client.subscribe("a", durable="d").close() == ""
        entry = broker.monitor("/streaming/channelsz?channel=a&subs=1")["subscriptions"][0]
        assert entry["is_offline"] is True and entry["client_id"] == "owner"
        assert broker.monitor("/streaming/clientsz?client=owner&subs=1").get("subscriptions", {}) == {}


def test_jsonp(broker):
    status, body = broker.http("/streaming/serverz?callback=show")
    assert status == 200 and body.startswith("show({") and body.rstrip().endswith(")")


def test_channel_names_are_escaped_as_go_does(broker):
    with StreamingClient(broker) as client:
        client.store("a&b<c", b"1")
        status, body = broker.http("/streaming/channelsz?subs=1")
        assert status == 200 and "a\\u0026b\\u003cc" in body


def test_health_pages(broker):
    for path in ("/healthz", "/healthz?js-server-only=true", "/livez", "/readyz"):
        status, body = broker.http(path)
        assert status == 200 and '"ok"' in body, path


def test_varz_has_what_exporters_read(broker):
    page = broker.monitor("/varz")
    for key in ("server_id", "server_name", "version", "host", "port", "max_payload", "connections",
                "total_connections", "subscriptions", "in_msgs", "out_msgs", "in_bytes", "out_bytes", "slow_consumers",
                "mem", "uptime", "start", "now"):
        assert key in page, key


def test_metrics_are_prometheus_text(broker):
    with StreamingClient(broker) as client:
        client.store("a", 3)
        status, body = broker.http("/metrics")
        assert status == 200
        for line in body.splitlines():
            assert line.startswith("#") or re.fullmatch(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{.*\})? [-+0-9.eEInfNa]+', line), line
        assert "# TYPE" in body


def test_an_unknown_page_is_404(broker):
    assert broker.http("/nowhere")[0] == 404


def test_is_ft_active_is_204_when_stand_alone(broker):
    status, body = broker.http("/streaming/isFTActive")
    assert status in (204, 404) and (status == 404 or body == "")
