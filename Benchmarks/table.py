"""The table of ratios, and what must be said beside it."""

import statistics


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}"


def medians(entries, key):
    values = [entry[key] for entry in entries if entry.get(key) is not None]
    return statistics.median(values) if values else None


def print_table(bench):
    lines = [["work", "broker", "peer", "", "ratio (spread)", "must", "", "generator", "CPU ns/msg", "count"]]
    for row in bench.rows:
        mine, theirs = row.get("ours", []), row.get("theirs", [])
        cpu = " / ".join(f"{medians(entries, 'cpu_ns'):,.0f}" for entries in (mine, theirs) if entries)
        spread = row.get("ratio_spread")
        own = medians(mine, "generator_ns")
        generator = f"{1e9 / own / row['broker']:.1f} x" if own and row["unit"] == "rate" else ""
        if row.get("generator"):
            generator += f" ({row['generator'] / row['broker']:.1f} x)"
        lines.append([row["work"], number(row["broker"]), number(row["peer"]), row["peer_name"],
                      f"{row['ratio']:.2f}" + (f" ({spread[0]:.2f}-{spread[1]:.2f})" if spread else ""), row["must"],
                      ("ok" if row["holds"] else "MISSED") if row["must"] else "", generator, cpu,
                      f"{sum(entry['messages'] for entry in mine):,}" if mine else ""])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    print()
    for index, line in enumerate(lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        if index == 0:
            print("  ".join("-" * width for width in widths))
    print_syncs(bench)
    disk = bench.disk()
    print(f"\nHardware limit here, now: 4 KiB pwrite + fdatasync on a file written before: {disk['rate']:,.0f} a second, "
          f"p50 {disk['p50_us']:.0f} µs, p99 {disk['p99_us']:.0f} µs.")
    print("generator: what the CPU time that the generator took per message would let it do, as a multiple of the broker's "
          "figure;\nin brackets the same generator against a server that does no work.")


def print_syncs(bench):
    print("\nSyncs (median of rounds):")
    seen = set()
    for row in bench.rows:
        for name, sync, entries in (("broker", row.get("sync"), row.get("ours")),
                                    (row["peer_name"], row.get("peer_sync"), row.get("theirs"))):
            if not entries or not sync or (row["work"], name) in seen or row["work"].startswith(("core", "request")):
                continue
            seen.add((row["work"], name))
            syncs = medians(entries, "syncs")
            said = f"{syncs:,.0f} syncs" if syncs is not None else "0 syncs" if sync.startswith("none") else "not told"
            print(f"  {row['work']}, {name}: {sync}; {said} for {medians(entries, 'all_messages'):,.0f} messages, warm-up "
                  f"included; measured for {medians(entries, 'seconds'):.2f} s")
