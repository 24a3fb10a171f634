#!/usr/bin/env python3
"""Computes the tables of expectations.md.

  figures.py            prints them
  figures.py --check    exits with status 1 if the guide, or the README's summary of it, has other figures
"""
import math
import pathlib
import sys

# The assumptions, which the guide states: hash rate of the network, a block's time and subsidy.
NETWORK_HASHES_PER_S = 1e21
BLOCK_S = 600
SUBSIDY_SAT = 312_500_000
# Of the rules.
SHARE_S = 30
WINDOW_SHARES = 8640
OUTPUTS = (48, 146, 366, 1000)

POOLS = {"1 PH/s": 1e15, "10 PH/s": 1e16, "100 PH/s": 1e17}
MINERS = {"1 TH/s": 1e12, "100 TH/s": 1e14, "10,000 TH/s": 1e16}
# Small enough to be paid by lottery in all of these pools.
SMALL_MINERS = {"1 TH/s": 1e12, "10 TH/s": 1e13, "100 TH/s": 1e14}
DAY_S = 86_400
YEAR_S = 365.25 * DAY_S


def rounded(value):
    """Two digits, or all before the point."""
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def time(seconds):
    for unit, unit_s in (("years", YEAR_S), ("days", DAY_S), ("h", 3600), ("min", 60)):
        if round(seconds / unit_s, 1) >= 1:
            return f"{rounded(seconds / unit_s)} {unit}"
    return f"{rounded(seconds)} s"


def percent(part):
    percent = part * 100
    if percent < 1e-9:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(percent)))
    return f"{percent:.{digits if percent < 99 else 1}f} %" if percent < 9.95 or percent >= 99 else f"{percent:.0f} %"


def table(*rows):
    rows = [list(row) for row in rows]
    rows.insert(1, ["---"] * len(rows[0]))
    return ["| " + " | ".join(row) + " |" for row in rows]


def block_s(hashes_per_s):
    """Mean time to a block."""
    return BLOCK_S * NETWORK_HASHES_PER_S / hashes_per_s


def blocks():
    rows = [["pool", "mean", "5 % of the waits are shorter than", "half are shorter than", "5 % are longer than", "chance of a block in a year"]]
    for name, pool in POOLS.items():
        mean = block_s(pool)
        waits = [time(-math.log(1 - part) * mean) for part in (0.05, 0.5, 0.95)]
        rows.append([name, time(mean), *waits, percent(1 - math.exp(-YEAR_S / mean))])
    return table(*rows)


def shares():
    rows = [["pool", "", *MINERS]]
    for name, pool in POOLS.items():
        every, window, credit = ["a share every"], ["shares in the window; chance of none"], ["credit per block, mean"]
        for miner in MINERS.values():
            if miner > pool:
                for row in (every, window, credit):
                    row.append("more than the pool")
                continue
            count = WINDOW_SHARES * miner / pool
            every.append(time(SHARE_S * pool / miner))
            window.append(f"{rounded(count)}; {percent(math.exp(-count))}")
            credit.append(f"{SUBSIDY_SAT * miner / pool:,.0f} sat")
        rows += [[name, *every], ["", *window], ["", *credit]]
    return table(*rows)


def income():
    rows = [["", *MINERS]]
    rates = MINERS.values()
    per_day = [DAY_S / BLOCK_S * SUBSIDY_SAT * rate / NETWORK_HASHES_PER_S for rate in rates]
    rows.append(["mean income, a day", *(f"{sat:,.0f} sat" for sat in per_day)])
    rows.append(["a year", *(f"{sat * YEAR_S / DAY_S / 1e8:.2g} BTC" for sat in per_day)])
    rows.append(["solo: a block every", *(time(block_s(rate)) for rate in rates)])
    rows.append(["solo: chance of one in a year", *(percent(1 - math.exp(-YEAR_S / block_s(rate))) for rate in rates)])
    return table(*rows)


def borders():
    parts = [1 / (outputs - 1) for outputs in OUTPUTS]
    rows = [["outputs", *(f"{outputs:,}" for outputs in OUTPUTS)]]
    rows.append(["smallest part paid in every block, no large miners", *map(percent, parts)])
    for name, pool in POOLS.items():
        rows.append([f"the same in TH/s, pool of {name}", *(rounded(pool * part / 1e12) for part in parts)])
    return table(*rows)


def payments():
    rows = [["mean time between payments", "solo", *(f"{outputs:,}" for outputs in OUTPUTS)]]
    for name, miner in SMALL_MINERS.items():
        rows.append([name, time(block_s(miner)), *(time(block_s(miner) / (outputs - 1)) for outputs in OUTPUTS)])
    rows.append(["each payment, BTC", "3.125", *(f"{SUBSIDY_SAT / 1e8 / (outputs - 1):.2g}" for outputs in OUTPUTS)])
    return table(*rows)


def main():
    tables = [blocks(), income(), shares(), borders(), payments()]
    if sys.argv[1:] != ["--check"]:
        print("\n\n".join("\n".join(rows) for rows in tables))
        return 0
    guide = pathlib.Path(__file__).with_name("expectations.md").read_text().splitlines()
    wrong = [f"expectations.md: {line}" for rows in tables for line in rows if line not in guide]
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
    per_day_sat = DAY_S / BLOCK_S * SUBSIDY_SAT * MINERS["1 TH/s"] / NETWORK_HASHES_PER_S
    summary = [f"{time(block_s(pool))}" for pool in POOLS.values()] + [f"{per_day_sat:.0f} sat a day for each TH/s"]
    wrong += [f"README.md: {figure}" for figure in summary if figure not in readme]
    for line in wrong:
        print(f"missing in {line}", file=sys.stderr)
    return 1 if wrong else 0


sys.exit(main())
