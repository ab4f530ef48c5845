"""The command line of the benchmarks: what is measured, and the table that comes of it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from bench.bars import BARS, FULL, QUICK, Bar
from bench.rounds import Bench
from bench.server import serving
from bench.workplace import Workplace, say


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run", description="Measure mirage; see README.md.")
    parser.add_argument("--quick", action="store_true", help="few rows, one round: a look only")
    parser.add_argument("--only", nargs="+", choices=BARS, metavar="NAME", help=", ".join(BARS))
    parser.add_argument("--rounds", type=int, help="rounds per bar (5)")
    return parser.parse_args()


def table(bars: Sequence[Bar]) -> Iterator[str]:
    """The verdict in Markdown."""
    yield "| bar | figure | measured | target | |"
    yield "|---|---|---:|---:|---|"
    for bar in bars:
        sign = "≤" if bar.at_most else "≥"
        digits = 0 if bar.unit == "MB" else 2
        target = f"{'goal ' if bar.goal else ''}{sign} {bar.target:g} {bar.unit}"
        verdict = "met" if bar.met else "**missed**"
        measured = f"{bar.measured:.{digits}f} {bar.unit}"
        yield f"| {bar.name} | {bar.what} | {measured} | {target} | {verdict} |"
    yield ""
    for bar in bars:
        if bar.detail:
            yield f"- {bar.name}: {bar.detail}"


def machine() -> dict[str, Any]:
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }


def main() -> None:
    args = arguments()
    place = Workplace()
    place.prepare()
    rounds = args.rounds or (1 if args.quick else 5)
    before, bars = machine(), list[Bar]()
    with serving(place.mockserver) as server:
        bench = Bench(place, server, rounds)
        for name in args.only or BARS:
            bars += BARS[name](bench, QUICK if args.quick else FULL)
    results = {
        "machine": before,
        "quick": args.quick,
        "rounds": rounds,
        "bars": [asdict(bar) | {"met": bar.met} for bar in bars],
        "runs": bench.log,
    }
    path = place.folder / "results.json"
    path.write_text(json.dumps(results, indent=1))
    sizes = "few rows, not for judging" if args.quick else "full size"
    load = f"load {before['load'][0]:.1f} on {before['cores']} cores"
    print(f"{before['time']}, {sizes}, median of {rounds} rounds, {load} at the start\n")
    print("\n".join(table(bars)))
    say(f"\nevery single run: {path}")


if __name__ == "__main__":
    main()
