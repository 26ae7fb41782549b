"""A service as a real process."""

import os
import urllib.error
import urllib.request

from broker_process import PATIENCE, LoggedProcess, free_port, wait_until
from postgres_cluster import PASSWORD, ROOT, USER

BINARIES = os.environ.get("BINARIES", os.path.join(ROOT, ".build/debug"))
#: The cluster id of the original's manifests.
CLUSTER_ID = "devpie-client"


class ServiceProcess(LoggedProcess):
    """`users` or `projects`, with the environment that it is given and what a local run needs."""

    def __init__(self, name, settings, wait=True, port=None, debug_port=None):
        super().__init__()
        self.name = name
        self.port, self.debug_port = port or free_port(), debug_port or free_port()
        self.settings = {"API_WEB_PORT": f"127.0.0.1:{self.port}", "API_WEB_DEBUG": f"127.0.0.1:{self.debug_port}",
                         "API_NATS_CLIENT_ID": f"mic-{name}"} | settings
        self.start(wait)

    @property
    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("API_")}
        # A backtrace takes longer than any test waits.
        return kept | {"SWIFT_BACKTRACE": "enable=no"} | self.settings

    def command(self):
        # The process must not outlive the one that started it, even when that is killed.
        return ["setpriv", "--pdeathsig", "KILL", os.path.join(BINARIES, self.name)]

    def wait_ready(self):
        wait_until(lambda: self.process.poll() is not None or self.debug("/readyz")[0] == 200, f"{self.name} is ready")
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log}")

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def debug(self, path):
        """(status, body) of one request to the debug listener; (0, "") when nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.debug_port}{path}", timeout=PATIENCE) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, urllib.error.URLError):
            return 0, ""

    def metric(self, name):
        """The sum of a metric over its labels."""
        total = 0.0
        for line in self.debug("/metrics")[1].splitlines():
            if line.split("{")[0].split(" ")[0] == name:
                total += float(line.rsplit(" ", 1)[1])
        return total


def database_settings(cluster, name):
    return {"API_DB_USER": USER, "API_DB_PASSWORD": PASSWORD, "API_DB_NAME": name,
            "API_DB_HOST": f"127.0.0.1:{cluster.port}", "API_DB_DISABLE_TLS": "true"}
