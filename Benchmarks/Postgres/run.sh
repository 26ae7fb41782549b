#!/usr/bin/env bash
# The Postgres wrapper against pgbench on one temporary PostgreSQL server: a statement without parameters (simple
# protocol), one with a parameter (extended protocol), and prepared inserts 100 to a pipeline (one transaction each).
# One connection and four; alternating, medians of the rounds; the rate per connection is to be 0.8 of pgbench's or more.
# Usage: Benchmarks/Postgres/run.sh [path of PostgresBenchmark]    ROUNDS=5 SECONDS_EACH=2
set -euo pipefail
cd "$(dirname "$0")/../.."
ours=$(realpath "${1:-.build/release/PostgresBenchmark}")
[ -x "$ours" ] || { echo "build it first: swift build -c release -Xswiftc -enforce-exclusivity=unchecked --product PostgresBenchmark" >&2; exit 2; }
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
as=(); [ "$(id -u)" = 0 ] && as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
dir=$(mktemp -d /tmp/bench-postgres-XXXXXX); chmod 755 "$dir"; [ "$(id -u)" = 0 ] && chown postgres "$dir"
trap '"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
cd "$dir"
"${as[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync >/dev/null
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# No sync: what is compared is the way to the server and back, not its disk.
"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -o "-p $port -k $dir -c fsync=off -c synchronous_commit=off" start >/dev/null
export PGHOST=127.0.0.1 PGPORT=$port PGUSER=postgres PGDATABASE=postgres PGSSLMODE=disable
url="postgres://postgres@127.0.0.1:$port/postgres?sslmode=disable"
"$bin/psql" -Xqc 'CREATE UNLOGGED TABLE pipelined (n int, t text)'
echo 'SELECT 1;' > simple.sql
printf '%s\n' '\set n random(1, 1000)' 'SELECT :n::bigint;' > query.sql
{ echo '\startpipeline'; for i in $(seq 100); do echo "\\set n $i"; echo "INSERT INTO pipelined (n, t) VALUES (:n, 'some text of a row');"; done
  echo '\endpipeline'; } > pipeline.sql
seconds=${SECONDS_EACH:-2}
theirs() { # load connections -> operations per second
  local protocol=simple factor=1
  [ "$1" = query ] && protocol=extended
  [ "$1" = pipeline ] && protocol=prepared factor=100
  "$bin/pgbench" -n -M $protocol -f "$1.sql" -c "$2" -j 1 -T "$seconds" postgres 2>/dev/null |
    awk -v f=$factor '/^tps/ { printf "%d\n", $3 * f }'
}
for round in $(seq "${ROUNDS:-5}"); do
  for load in simple query pipeline; do
    for connections in 1 4; do
      "$bin/psql" -Xqc 'TRUNCATE pipelined'
      echo "$load $connections wrapper $("$ours" "$load" "$url" "$connections" "$seconds")"
      "$bin/psql" -Xqc 'TRUNCATE pipelined'
      echo "$load $connections pgbench $(theirs "$load" "$connections")"
    done
  done
done | python3 -c '
import sys, statistics, collections
runs = collections.defaultdict(list)
for line in sys.stdin:
    load, connections, tool, rate = line.split()
    runs[(load, int(connections)), tool].append(int(rate))
print("load      connections    wrapper/s    pgbench/s   ratio (lowest to highest round)")
for case in dict.fromkeys(c for c, _ in runs):
    ours, theirs = runs[case, "wrapper"], runs[case, "pgbench"]
    ratios = [a / b for a, b in zip(ours, theirs)]
    print(f"{case[0]:9} {case[1]:11} {statistics.median(ours):12,.0f} {statistics.median(theirs):12,.0f}"
          f"   {statistics.median(ours) / statistics.median(theirs):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")'
