"""One worker against eight, and both against Ray Data, on an endpoint that takes 500 ms.

    .venv/bin/python -m bench.scaling [--rounds 3] [--rows 1920] [--workers 8] [--only mirage]

Each worker has 32 calls in flight and `--rows` rows, so that one and eight take as long. Rows per
second are counted by the server: from the first request to the last answer, so that what starts
late counts, and in the middle half of the rows alone (`steady`), which a longer run comes to. CPU
seconds are those of all processes, their starts included; memory is the most that they held
together, pages that they share counted once (PSS). Ray Data needs `make test-scale`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.server import Latency, Server, build, serving
from bench.workplace import HERE, Workplace, say

IN_FLIGHT, LATENCY_MS, BLOCK_ROWS = 32, 500, 64
TARGET = 0.9
PEER = HERE / "peers" / "ray_data.py"
WAYS = ("mirage", "map_batches", "llm")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run came to: rows per second over all, and between a quarter and three quarters of
    the rows (`steady`). `in_flight` is the most that the server had at once, `repeated` are calls
    beyond one for each row.
    """

    way: str
    workers: int
    rows: int
    rate: float
    steady: float
    wall: float
    cpu: float
    peak_mb: float
    in_flight: int
    repeated: int

    @property
    def cpu_per_1000(self) -> float:
        return self.cpu / self.rows * 1000


def config(folder: Path, url: str, rows: int, workers: int) -> Path:
    lines = (json.dumps({"q": f"question {number}"}) for number in range(rows))
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    engine = {"backend": "openai", "model_path": "mock", "base_url": url}
    written = {
        "source": {"path": "rows.jsonl"},
        "engine": engine | {"max_in_flight": IN_FLIGHT * workers},
        "inputs": [{"name": "q", "key": "q"}],
        "outputs": [{"name": "a", "prompt": "{q}"}],
        "output_schema": {"q": "{q}", "a": "{a}"},
        "sink": {"path": "out.jsonl"},
        "run": {"dir": "run", "workers": workers, "block_rows": BLOCK_ROWS},
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(written))
    return path


def command(way: str, folder: Path, server: Server, rows: int, workers: int) -> list[str | Path]:
    written = config(folder, server.base_url, rows, workers)
    if way == "mirage":
        return [Path(sys.executable).with_name("mirage"), "run", written, "--quiet"]
    where = ["--input", folder / "rows.jsonl", "--output", folder / "out"]
    size = ["--in-flight", str(IN_FLIGHT), "--workers", str(workers)]
    url = f"{server.base_url}/chat/completions"
    return [sys.executable, PEER, way, "--url", url, *where, *size]


def family(pid: int) -> Iterator[Path]:
    """A process and all that descend from it: Ray's daemons are children of their driver."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += parents.get(each, ())
        yield Path("/proc") / str(each)


def watched(
    process: subprocess.Popen[bytes], server: Server, rows: int
) -> tuple[float, float, float]:
    """CPU seconds and the most memory (in 10^6 bytes) of a process's family, until it ends; and the
    rows per second that the server saw of the middle half of the rows.
    """
    looks: list[tuple[float, int]] = []
    spent: dict[str, float] = {}
    peak, ticks = 0.0, os.sysconf("SC_CLK_TCK")
    while process.poll() is None:
        held = 0.0
        for folder in family(process.pid):
            with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                spent[folder.name] = (int(fields[11]) + int(fields[12])) / ticks
                lines = (folder / "smaps_rollup").read_text().splitlines()
                pss = next(line for line in lines if line.startswith("Pss:"))
                held += float(pss.split()[1]) * 1024 / 1e6
        peak = max(peak, held)
        looks.append((time.monotonic(), server.seen().calls))
        time.sleep(0.25)
    middle = [look for look in looks if rows / 4 <= look[1] <= rows * 3 / 4]
    (began, first), (ended, last) = middle[0], middle[-1]
    return sum(spent.values()), peak, (last - first) / (ended - began)


def measure(way: str, server: Server, rows: int, workers: int) -> tuple[Run, bytes]:
    folder = Path(tempfile.mkdtemp(prefix="scaling-"))
    try:
        words = command(way, folder, server, rows, workers)
        server.set(Latency(LATENCY_MS))
        began = time.monotonic()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
            cpu, peak, steady = watched(process, server, rows)
        wall, seen = time.monotonic() - began, server.seen()
        if process.returncode:
            raise SystemExit(f"{way}: {(folder / 'log').read_text()[-2000:]}")
        data = (folder / "out.jsonl").read_bytes() if way == "mirage" else b""
        if way == "mirage" and (written := data.count(b"\n")) != rows:
            raise SystemExit(f"mirage wrote {written} rows of {rows}")
        rate = rows / seen.span_s
        extra = seen.calls - rows
        found = (rate, steady, wall, cpu, peak, seen.max_in_flight, extra)
        return Run(way, workers, rows, *found), data
    finally:
        shutil.rmtree(folder)


def told(runs: Sequence[Run]) -> Iterator[str]:
    """Medians, a line for each contestant and number of workers."""
    names = "workers | rows | in flight | rows/s | steady | wall, s | CPU s per 1,000 rows | MB"
    yield f"| | {names} |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for way, workers in dict.fromkeys((run.way, run.workers) for run in runs):
        mine = [run for run in runs if (run.way, run.workers) == (way, workers)]
        rate, steady, wall, cpu, peak = (
            statistics.median(getattr(run, name) for run in mine)
            for name in ("rate", "steady", "wall", "cpu_per_1000", "peak_mb")
        )
        figures = f"{rate:,.0f} | {steady:,.0f} | {wall:.1f} | {cpu:.2f} | {peak:,.0f}"
        yield f"| {way} | {workers} | {mine[0].rows:,} | {mine[0].in_flight:,} | {figures} |"


def verdict(runs: Sequence[Run], workers: int) -> Iterator[str]:
    one, many = ([r for r in runs if r.way == "mirage" and r.workers == n] for n in (1, workers))
    pairs = list(zip(one, many, strict=True))
    cpus = [b.cpu_per_1000 / a.cpu_per_1000 for a, b in pairs]
    for name in ("rate", "steady"):
        ratios = [getattr(b, name) / getattr(a, name) for a, b in pairs]
        ratio, least = statistics.median(ratios), TARGET * workers
        met = "met" if ratio >= least else "MISSED"
        shown = ", ".join(f"{each:.2f}" for each in ratios)
        yield f"{name}: {workers} workers give {ratio:.2f} x one ({shown}), wanted {least:g}: {met}"
    yield f"CPU per row, {workers} against one: {statistics.median(cpus):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.scaling", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1920, help="of each worker")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=WAYS)
    args = parser.parse_args()
    place = Workplace()
    place.folder.mkdir(exist_ok=True)
    build(place.mockserver)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the start")
    runs: list[Run] = []
    alone = b""
    with serving(place.mockserver) as server:
        for number in range(args.rounds):
            for way in args.only:
                for workers in (1, args.workers):
                    run, data = measure(way, server, args.rows * workers, workers)
                    runs.append(run)
                    if way == "mirage" and workers == 1:
                        alone = data
                    say(f"round {number + 1}: {run} load {os.getloadavg()[0]:.1f}")
        if "mirage" in args.only:
            together = measure("mirage", server, args.rows, args.workers)[1]
            if together != alone:
                raise SystemExit("what all workers wrote is not what one wrote")
            say("the dataset of all workers is that of one, byte for byte")
    print("\n".join(told(runs)))
    if "mirage" in args.only:
        print("\n".join(verdict(runs, args.workers)))


if __name__ == "__main__":
    sys.exit(main())
