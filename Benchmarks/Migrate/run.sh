#!/usr/bin/env bash
# Compares `migrate up` with `psql -f` doing the same statements, bookkeeping included, on one temporary PostgreSQL
# server: 1,000 small migrations, one file of 64 MiB, and `version` against `psql -c`. Alternating, five rounds, medians.
# Usage: Benchmarks/Migrate/run.sh [path of migrate]     (as root or as a user who may run PostgreSQL)
set -euo pipefail
cd "$(dirname "$0")/../.."
migrate=$(realpath "${1:-.build/release/migrate}")
[ -x "$migrate" ] || { echo "build it first: swift build -c release --product migrate" >&2; exit 2; }
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
as=(); [ "$(id -u)" = 0 ] && as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
dir=$(mktemp -d /tmp/bench-migrate-XXXXXX); chmod 755 "$dir"; [ "$(id -u)" = 0 ] && chown postgres "$dir"
cd "$dir"
trap '"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
"${as[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync >/dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -o "-p $port -k $dir -c fsync=off" start >/dev/null
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres
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
measure() { /usr/bin/python3 - "$@" <<'P'
import os, subprocess, sys, time, resource
start = time.monotonic()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(f"{time.monotonic() - start:.4f} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.1f}" if code == 0 else "failed")
P
}
fresh() { "$bin/dropdb" --if-exists b 2>/dev/null; "$bin/createdb" b; }
for round in 1 2 3 4 5; do
  for set in small large; do
    fresh; echo "$set migrate $(measure "$migrate" -path "$dir/$set" -database "$url" up)"
    fresh; echo "$set psql $(measure "$bin/psql" -Xq -d b -f "$dir/$set.sql")"
  done
  "$migrate" -path "$dir/small" -database "$url" force 5
  for i in 1 2 3 4 5; do
    echo "version migrate $(measure "$migrate" -path "$dir/small" -database "$url" version)"
    echo "version psql $(measure "$bin/psql" -Xq -d b -c 'SELECT version, dirty FROM schema_migrations')"
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
        print(f"{case:8} {tool:8} median {result[tool][0]:.4f} s ({min(times):.4f} to {max(times):.4f}), peak memory {result[tool][1]:.1f} MB")
    ours, theirs = result["migrate"], result["psql"]
    print(f"{case:8} ratio    time {ours[0] / theirs[0]:.2f}, memory {ours[1] / theirs[1]:.2f}")'
