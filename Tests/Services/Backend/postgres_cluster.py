"""A PostgreSQL server of the run's own: a temporary cluster on a free port of 127.0.0.1, removed when this process ends,
however it ends."""

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid

import psycopg
from broker_process import free_port, wait_until

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
MIGRATE = os.environ.get("MIGRATE", os.path.join(ROOT, ".build/debug/migrate"))
#: The superuser, and the password of the original's manifests.
USER = PASSWORD = "postgres"
MIGRATIONS = {name: os.path.join(ROOT, "Sources/Services", name.capitalize(), "Migrations")
              for name in ("users", "projects")}


class PostgresCluster:
    """Starts at once. `durable` keeps Postgres' own promises (fsync), which tests do without."""

    def __init__(self, durable=False):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
        if not found:
            raise RuntimeError("there is no PostgreSQL server here: apt-get install postgresql")
        self.binaries = os.path.dirname(found[-1])
        self.durable = durable
        # A test run makes and removes some ten thousand files, for which a disk takes minutes.
        in_memory = not durable and os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 2**31
        self.directory = tempfile.mkdtemp(prefix="devpie-postgres-", dir="/dev/shm" if in_memory else None)
        # PostgreSQL refuses to run as root.
        self._account = []
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            self._account = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        # A shell that waits for the end of a pipe, which is the end of this process.
        stop = " ".join([*self._account, f"{self.binaries}/pg_ctl", "-D", f"{self.directory}/data", "-m immediate -w stop"])
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", f"cat >/dev/null; cd /; {stop}; rm -rf {self.directory}"], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        password = os.path.join(self.directory, "password")
        with open(password, "w") as file:
            file.write(PASSWORD)
        os.chmod(password, 0o644)
        self._run("initdb", "-D", f"{self.directory}/data", "-U", USER, f"--pwfile={password}", "--auth-local=trust",
                  "--auth-host=scram-sha-256", "--locale=C.UTF-8", "-E", "UTF8", "--no-sync")
        self.port = free_port()
        self.start()
        self._templates = {}

    def _run(self, program, *arguments):
        with open(os.path.join(self.directory, "output"), "w+") as output:
            # pg_ctl's server inherits what it prints to, so a pipe would not end.
            code = subprocess.call([*self._account, f"{self.binaries}/{program}", *arguments], cwd="/",
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            output.seek(0)
            if code != 0:
                raise RuntimeError(f"{program} failed: {output.read()}")

    def start(self):
        swift = "" if self.durable else "-c fsync=off -c full_page_writes=off"
        self._run("pg_ctl", "-D", f"{self.directory}/data", "-l", f"{self.directory}/data/log", "-w", "-t", "60", "-o",
                  f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 -c max_connections=300 "
                  f"-c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.track=top {swift}",
                  "start")

    def stop(self, mode="immediate"):
        """As a crash does, unless told otherwise (`fast`, `smart`)."""
        self._run("pg_ctl", "-D", f"{self.directory}/data", "-m", mode, "-w", "stop")

    def close(self):
        self._guard.stdin.close()
        self._guard.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Databases

    def url(self, database, user=USER, password=PASSWORD):
        return f"postgres://{user}:{password}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def migrate(self, database, service, *command, check=True):
        """Runs our `migrate` with a service's migrations on a database."""
        ended = subprocess.run([MIGRATE, "-path", MIGRATIONS[service], "-database", self.url(database), *command],
                               capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if check and ended.returncode != 0:
            raise RuntimeError(f"migrate {' '.join(command)}: {ended.stderr}")
        return ended

    def create(self, service, migrated=True):
        """A new database, by default with the service's schema; returns its name."""
        name = f"{service}_{uuid.uuid4().hex[:12]}"
        template = "template0"
        if migrated:
            if service not in self._templates:
                self._templates[service] = self.create(service, migrated=False)
                self.migrate(self._templates[service], service, "up")
            template = self._templates[service]
        with Database(self, "postgres") as postgres:
            postgres.run(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name):
        with Database(self, "postgres") as postgres:
            postgres.run(f"DROP DATABASE {name} WITH (FORCE)")


class Database:
    """One database of a cluster, for tests to look into. Each call is a transaction of its own."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self._connection = None

    def _connected(self):
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self.cluster.url(self.name), autocommit=True)
        return self._connection

    def rows(self, sql, *values):
        try:
            with self._connected().cursor() as cursor:
                cursor.execute(sql, values or None)
                return cursor.fetchall() if cursor.description else []
        except psycopg.OperationalError:
            self.close()
            raise

    def run(self, sql, *values):
        self.rows(sql, *values)

    def value(self, sql, *values):
        rows = self.rows(sql, *values)
        return rows[0][0] if rows else None

    def table(self, name, order):
        """All rows of a table as dictionaries, in the order of that column."""
        with self._connected().cursor(row_factory=psycopg.rows.dict_row) as cursor:
            cursor.execute(f"SELECT * FROM {name} ORDER BY {order}")
            return cursor.fetchall()

    def wait_value(self, expected, sql, *values):
        wait_until(lambda: self.value(sql, *values) == expected,
                   lambda: f"{expected!r} from {sql} {values}, it is {self.value(sql, *values)!r}")

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
