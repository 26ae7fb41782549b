#!/usr/bin/env bash
# Writes functions.order, by which the linker puts those functions of `migrate` together that ordinary runs call
# (docs/decisions/0028). Runs the program of `make release PRODUCTS=migrate` under valgrind on a temporary PostgreSQL server.
# An old list costs memory and nothing else: names that are gone are passed over.
# Usage: Benchmarks/Migrate/order.sh     (as root or as a user who may run PostgreSQL; needs valgrind)
set -euo pipefail
cd "$(dirname "$0")/../.."
migrate=$(realpath .build/static/release/migrate) list=$PWD/Benchmarks/Migrate/functions.order
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)
as=(); [ "$(id -u)" = 0 ] && as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
dir=$(mktemp -d /tmp/order-migrate-XXXXXX); chmod 755 "$dir"; [ "$(id -u)" = 0 ] && chown postgres "$dir"
cd "$dir"
trap '"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$dir"' EXIT
"${as[@]}" "$bin/initdb" -D "$dir/data" -U postgres -A trust --no-sync >/dev/null
"${as[@]}" "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -o "-k $dir -c fsync=off -c listen_addresses=" start >/dev/null
url="postgres://postgres@/postgres?host=$dir&sslmode=disable"
mkdir small large
for version in $(seq -w 40); do
  echo "CREATE TABLE t$version (id int);" > "small/0000${version}_t.up.sql"
  echo "DROP TABLE t$version;" > "small/0000${version}_t.down.sql"
done
cp small/000040_t.* large
{ echo "CREATE TABLE big (n int, t text);"
  for i in $(seq 1500); do printf "INSERT INTO big VALUES (%d, '%0990d');\n" "$i" 0; done; } > large/000041_big.up.sql
run() {  # number, directory, command
  valgrind --quiet --tool=callgrind --demangle=no --callgrind-out-file="$dir/$1.calls" \
    "$migrate" -path "$dir/$2" -database "$url" "${@:3}" 2>/dev/null
}
run 1 small up
run 2 small version
run 3 large up
run 4 large down 2
run 5 large up 5 || true
run 6 nowhere version || true
python3 - "$migrate" *.calls > "$list" <<'P'
import re, sys
program, *files = sys.argv[1:]
functions = {}
for file in files:
    names, objects, current = {}, {}, None
    for line in open(file):
        # A name is written out where it stands for the first time, which may be a call ("cob", "cfn").
        part = re.match(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$", line.rstrip("\n"))
        if not part: continue
        is_call, kind, number, name = part.groups()
        known = objects if kind == "ob" else names
        if name: known[number] = name
        if is_call: continue
        if kind == "ob": current = objects[number]
        # A function that calls itself may be there as name'2; what has no symbol is there by its address.
        elif current == program and not names[number].startswith("0x"):
            functions.setdefault(re.sub(r"'\d+$", "", names[number]))
print("\n".join(functions))
P
wc -l "$list"
