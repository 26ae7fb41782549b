#!/usr/bin/env bash
# Compares `migrate up` with `psql -f` doing the same statements, bookkeeping included, on one temporary PostgreSQL
# server: 1,000 small migrations, one file of 64 MiB, and `version` against `psql -c`. Both connect over TCP without TLS or
# Kerberos. Five rounds, the one or the other first in turn; medians. Peak memory is what the kernel reports for the process.
# VERSION_RUNS is how often `version` runs in a round: 20, and 240 to tell a difference of a hundredth.
# Usage: Benchmarks/Migrate/run.sh [path of migrate]     (as root or as a user who may run PostgreSQL)
set -euo pipefail
cd "$(dirname "$0")/../.."
migrate=$(realpath "${1:-.build/release/migrate}")
[ -x "$migrate" ] || { echo "build it first: make release PRODUCTS=migrate" >&2; exit 2; }
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
as=(); [ "$(id -u)" = 0 ] && as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
dir=$(mktemp -d /tmp/bench-migrate-XXXXXX); chmod 755 "$dir"; [ "$(id -u)" = 0 ] && chown postgres "$dir"
cd "$dir"
trap '"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
"${as[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync >/dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -o "-p $port -k $dir -c fsync=off" start >/dev/null
# psql looks for Kerberos credentials unless it is told not to; migrate does not.
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGSSLMODE=disable PGGSSENCMODE=disable
url="postgres://postgres@127.0.0.1:$port/b?sslmode=disable"
python3 - "$dir" <<'P'
import os, sys
root = sys.argv[1]
def book(v, dirty): return f'BEGIN; TRUNCATE "public"."schema_migrations"; INSERT INTO "public"."schema_migrations" (version, dirty) VALUES ({v}, {dirty}); COMMIT;\n'
table = 'CREATE TABLE IF NOT EXISTS "public"."schema_migrations" (version bigint not null primary key, dirty boolean not null);\n'
os.makedirs(f"{root}/small"); os.makedirs(f"{root}/large")
with open(f"{root}/small.sql", "w") as f:
    f.write(table)
    for v in range(1, 1001):
        body = f"CREATE TABLE t{v} (id int);\n"
        open(f"{root}/small/{v:06}_t.up.sql", "w").write(body)
        f.write(book(v, True) + body + book(v, False))
line = "INSERT INTO big VALUES (1, '" + "x" * 970 + "');\n"
body = "CREATE TABLE big (n int, t text);\n" + line * (64 * 1024 * 1024 // len(line))
open(f"{root}/large/000001_big.up.sql", "w").write(body)
# psql in one transaction, as a file without BEGIN is for migrate.
open(f"{root}/large.sql", "w").write(table + book(1, True) + "BEGIN;\n" + body + "COMMIT;\n" + book(1, False))
P
# What was just written lies in memory in larger pieces, of which more is mapped: both programs come from the disk.
python3 - "$migrate" "$bin/psql" <<'P'
import os, sys
for path in sys.argv[1:]:
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
P
# A process begins with the peak of the one that it came from, so that one has to be smaller than what is measured: a bare
# interpreter, 8 MB where psql has 9.5.
measure() { /usr/bin/python3 -I -S - "$@" <<'P'
import os, sys, time
null = os.open("/dev/null", os.O_WRONLY)
start = time.monotonic()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ,
                       file_actions=[(os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)])
_, status, usage = os.wait4(child, 0)
print(f"{time.monotonic() - start:.5f} {usage.ru_maxrss / 1024:.1f}" if status == 0 else "failed")
P
}
fresh() { "$bin/dropdb" --if-exists b 2>/dev/null; "$bin/createdb" b; }
run() {  # case, tool
  case $1-$2 in
    version-migrate) measure "$migrate" -path "$dir/small" -database "$url" version ;;
    version-psql) measure "$bin/psql" -Xq -d b -c 'SELECT version, dirty FROM schema_migrations' ;;
    *-migrate) fresh; measure "$migrate" -path "$dir/$1" -database "$url" up ;;
    *-psql) fresh; measure "$bin/psql" -Xq -d b -f "$dir/$1.sql" ;;
  esac
}
for round in 1 2 3 4 5; do
  first=migrate second=psql
  [ $((round % 2)) = 0 ] && first=psql second=migrate
  for set in large small; do
    for tool in $first $second; do echo "$set $tool $(run $set $tool)"; done
  done
  for i in $(seq "${VERSION_RUNS:-20}"); do
    for tool in $first $second; do echo "version $tool $(run version $tool)"; done
  done
done | python3 -c '
import sys, statistics, collections
runs = collections.defaultdict(list)
for line in sys.stdin:
    case, tool, *values = line.split()
    runs[case, tool].append([float(v) for v in values])
for case in dict.fromkeys(c for c, _ in runs):
    result = {}
    for tool in ("migrate", "psql"):
        times = [r[0] for r in runs[case, tool]]; memory = [r[1] for r in runs[case, tool]]
        result[tool] = statistics.median(times), statistics.median(memory)
        quarters = statistics.quantiles(times, n=4)
        print(f"{case:8} {tool:8} median {result[tool][0]:.4f} s ({min(times):.4f} to {max(times):.4f}, quarters {quarters[0]:.4f} and {quarters[2]:.4f}), peak memory {result[tool][1]:.1f} MB")
    ours, theirs = result["migrate"], result["psql"]
    print(f"{case:8} ratio    time {ours[0] / theirs[0]:.2f}, memory {ours[1] / theirs[1]:.2f}")'
