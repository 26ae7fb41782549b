"""The whole backend as processes of this run: databases, broker, services, and what is outside of it."""

import json
import uuid

import streaming_pb2 as pb
from broker_process import BrokerProcess, wait_until
from event import CHANNELS
from nats_socket import nuid
from outside_systems import (AUDIENCE, CLIENT_ID, CLIENT_SECRET, MANAGEMENT_AUDIENCE, SENDGRID_KEY, OutsideSystems)
from person import Person
from postgres_cluster import Database
from service_process import CLUSTER_ID, ServiceProcess, database_settings
from streaming_client import StreamingClient

#: What of a project is in the other service too.
PROJECT_COLUMNS = ("project_id, name, prefix, coalesce(description, '') AS description, user_id, "
                   "coalesce(team_id, '') AS team_id, active, public, column_order, created_at")
MEMBERSHIP_COLUMNS = "membership_id, user_id, team_id, role::text AS role, created_at, updated_at"


class Backend:
    """Starts at once. `settings` are further variables of both services; `services` those that are started; `ports`
    those that are not just any: users, projects, broker, outside, and the same with -debug or -monitoring behind."""

    def __init__(self, cluster, services=("users", "projects"), settings=None, ports=None):
        self.cluster = cluster
        self.settings = settings or {}
        ports = ports or {}
        self.outside = OutsideSystems(ports.get("outside", 0))
        # As in the manifests: a client that was killed is forgotten after some 15 s, and what it had goes to the others.
        self.broker = BrokerProcess("-mc", "0", "-hbi", "5s", "-hbt", "5s", "-hbf", "2", "-SDV", store="file", cluster=CLUSTER_ID, port=ports.get("broker"),
                                    monitoring_port=ports.get("broker-monitoring"),
                                    prefix=["setpriv", "--pdeathsig", "KILL"])
        #: What `close` drops.
        self._created = {name: cluster.create(name) for name in ("users", "projects")}
        self.databases = {name: Database(cluster, database) for name, database in self._created.items()}
        self.services = {}
        for name in services:
            self.services[name] = ServiceProcess(name, self.service_settings(name), wait=False, port=ports.get(name),
                                                 debug_port=ports.get(f"{name}-debug"))
        for service in self.services.values():
            service.wait_ready()

    def service_settings(self, name):
        outside = self.outside
        return {
            "API_WEB_CORS_ORIGINS": "http://localhost:3000, https://devpie.local:3000",
            "API_WEB_AUTH_DOMAIN": "devpie-dev.example", "API_WEB_AUTH_AUDIENCE": AUDIENCE,
            "API_WEB_AUTH_ISSUER": outside.issuer, "API_WEB_AUTH_JWKS_URL": outside.url + "/.well-known/jwks.json",
            "API_WEB_AUTH_BASE_URL": outside.url, "API_WEB_AUTH_M_2_M_CLIENT": CLIENT_ID,
            "API_WEB_AUTH_M_2_M_SECRET": CLIENT_SECRET, "API_WEB_AUTH_MAPI_AUDIENCE": MANAGEMENT_AUDIENCE,
            "API_WEB_SENDGRID_API_KEY": SENDGRID_KEY, "API_WEB_SENDGRID_BASE_URL": outside.url,
            "API_NATS_URL": self.broker.url, "API_NATS_CLUSTER_ID": CLUSTER_ID, "API_NATS_ACK_WAIT": "1s",
        } | database_settings(self.cluster, self.databases[name].name) | self.settings

    def replica(self, name, settings=None):
        """Another process of a service; the caller closes it."""
        return ServiceProcess(name, self.service_settings(name) | (settings or {}))

    def close(self):
        for service in self.services.values():
            service.close()
        for database in self.databases.values():
            database.close()
        for name in self._created.values():
            self.cluster.drop(name)
        self.broker.close()
        self.outside.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def users_db(self):
        return self.databases["users"]

    @property
    def projects_db(self):
        return self.databases["projects"]

    # People

    def person(self, name):
        return Person(self, name).sign_up()

    def stranger(self, name="Nobody"):
        """Somebody with a good token and a user id that no service knows."""
        person = Person(self, name, user_id=str(uuid.uuid4()))
        person.account = self.outside.account(person.email)
        person.sign_in()
        return person

    # Channels

    def count(self, channel):
        """How many messages a channel has."""
        status, body = self.broker.http(f"/streaming/channelsz?channel={channel}")
        return json.loads(body)["msgs"] if status == 200 else 0

    def counts(self):
        return {channel: self.count(channel) for channel in CHANNELS}

    def messages(self, channel):
        """All messages of a channel, as bytes."""
        with StreamingClient(self.broker) as client:
            count = self.count(channel)
            if count == 0:
                return []
            subscription = client.subscribe(channel, start=pb.First, manual=True, max_in_flight=max(count, 1))
            found = [message.data for message in subscription.wait(count)]
            client.close_session()
            return found

    def events(self, channel, **data):
        """The events of a channel whose data has these values."""
        found = [json.loads(message) for message in self.messages(channel)]
        return [event for event in found if all(event["data"].get(name) == value for name, value in data.items())]

    def wait_event(self, channel, **data):
        """The first such event."""
        found = []
        wait_until(lambda: found.extend(self.events(channel, **data)) or found, f"an event on {channel} with {data}")
        return found[0]

    def publish(self, channel, *payloads):
        """Publishes by hand, as a foreign service would."""
        with StreamingClient(self.broker, client_id="hand-" + nuid()[:6]) as client:
            client.store(channel, *payloads)
            client.close_session()

    # Copies

    def wait_copied(self, project_id):
        self.users_db.wait_value(1, "SELECT count(*)::int FROM projects WHERE project_id = %s", project_id)

    def differences(self):
        """How the copies differ from what they are copies of: an empty list when all are equal."""
        found = []
        for what, columns, source, copy in [("projects", PROJECT_COLUMNS, self.projects_db, self.users_db),
                                            ("memberships", MEMBERSHIP_COLUMNS, self.users_db, self.projects_db)]:
            sql = f"SELECT {columns} FROM {what}"
            originals = {row[0]: row for row in source.rows(sql)}
            copies = {row[0]: row for row in copy.rows(sql)}
            found += [f"{what} {key}: {originals.get(key)} is copied as {copies.get(key)}"
                      for key in sorted(originals.keys() | copies.keys()) if originals.get(key) != copies.get(key)]
        return found

    def is_quiet(self):
        """Whether every event is published and handled."""
        if any(database.value("SELECT count(*) FROM outbox WHERE published_at IS NULL")
               for database in self.databases.values()):
            return False
        for channel in self.broker.monitor("/streaming/channelsz?subs=1").get("channels", []):
            sent = {}
            for subscription in channel.get("subscriptions") or []:
                if subscription["pending_count"]:
                    return False
                group = subscription.get("queue_name")
                sent[group] = max(sent.get(group, 0), subscription["last_sent"])
            if any(last < channel["last_seq"] for last in sent.values()):
                return False
        return True

    def wait_equal(self, timeout=None):
        wait_until(lambda: self.is_quiet() and not self.differences(),
                   lambda: f"copies that equal their source: {self.differences()[:3] or 'they do, but not all is handled'}", timeout)
