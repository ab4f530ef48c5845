"""The bars that mirage is held to, and how each is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median

from bench.contestants import MIRAGE, PEERS, Job, config_of, run_command
from bench.rounds import Bench, Entrant, Run, middle, ratio
from bench.server import Latency

STARTS_PER_ROUND = 5
ONE = "mirage x 1"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows each bar takes; the second set is for a look while something is changed."""

    throughput: int = 50_000
    latency: int = 2_000
    barrier: int = 2_000
    images: int = 1_000
    memory: tuple[int, int] = (5_000, 500_000)


FULL = Sizes()
QUICK = Sizes(throughput=10_000, latency=1_000, barrier=500, images=200, memory=(5_000, 50_000))


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the verdict. `detail` holds the figures that the measured one was made of."""

    name: str
    what: str
    measured: float
    target: float
    unit: str = "x"
    at_most: bool = True
    goal: bool = False
    detail: str = ""

    @property
    def met(self) -> bool:
        if self.at_most:
            return self.measured <= self.target
        return self.measured >= self.target


def throughput(bench: Bench, sizes: Sizes) -> Iterator[Bar]:
    """Rows of 1.6 KB, 64 in flight, no latency: what the client itself costs."""
    rows = sizes.throughput
    job = Job(bench.place.text(rows), rows, in_flight=64)
    entrants = [Entrant(name, name, job) for name in (*PEERS, MIRAGE)]
    entrants.append(Entrant(ONE, MIRAGE, replace(job, workers=1)))
    names = [entrant.label for entrant in entrants]
    runs = bench.compete("throughput", entrants)
    ours, aiohttp, raw = runs[MIRAGE], runs["aiohttp-uv"], runs["raw-uv"]
    rates = ", ".join(f"{name} {middle(runs[name], 'rate'):,.0f}" for name in names)
    costs = ", ".join(f"{name} {middle(runs[name], 'cpu'):.3f}" for name in names)
    yield Bar(
        name="throughput",
        what="rows/s ÷ aiohttp-uv",
        measured=ratio(ours, aiohttp, "rate"),
        target=1.0,
        at_most=False,
        detail=f"rows/s: {rates}",
    )
    yield Bar(
        name="throughput",
        what="rows/s of one process ÷ aiohttp-uv",
        measured=ratio(runs[ONE], aiohttp, "rate"),
        target=1.0,
        at_most=False,
        goal=True,
    )
    yield Bar(
        name="throughput",
        what="CPU ÷ aiohttp-uv",
        measured=ratio(ours, aiohttp, "cpu"),
        target=1.3,
        detail=f"CPU s per 1,000 rows: {costs}",
    )
    yield Bar(
        name="throughput",
        what="rows/s ÷ raw-uv",
        measured=ratio(ours, raw, "rate"),
        target=0.4,
        at_most=False,
        goal=True,
    )


def latency(bench: Bench, sizes: Sizes) -> Iterator[Bar]:
    """Calls of 500 ms, 512 in flight: whether the window is full all the time."""
    rows, in_flight, each = sizes.latency, 512, 500
    job = Job(bench.place.text(rows), rows, in_flight, Latency(each))
    names = ("aiohttp-uv", MIRAGE)
    runs = bench.compete("latency", [Entrant(name, name, job) for name in names])
    ideal = rows / in_flight * each / 1_000
    spans = ", ".join(f"{name} {middle(runs[name], 'span'):.2f}" for name in names)
    yield Bar(
        name="latency",
        what="first request to last answer ÷ ideal",
        measured=middle(runs[MIRAGE], "span") / ideal,
        target=1.15,
        detail=f"seconds: ideal {ideal:.2f}, {spans}",
    )


def barrier(bench: Bench, sizes: Sizes) -> Iterator[Bar]:
    """5 % of the calls take 5 s, the others 20 ms: whether anybody waits for the slow ones."""
    rows = sizes.barrier
    slow = Latency(latency_ms=20, slow_percent=5, slow_ms=5_000)
    job = Job(bench.place.text(rows), rows, 64, slow)
    names = ("aiohttp-uv", MIRAGE)
    runs = bench.compete("barrier", [Entrant(name, name, job) for name in names])
    walls = ", ".join(f"{name} {middle(runs[name], 'wall'):.2f}" for name in names)
    yield Bar(
        name="barrier",
        what="wall ÷ aiohttp-uv",
        measured=ratio(runs[MIRAGE], runs["aiohttp-uv"], "wall"),
        target=1.1,
        detail=f"seconds: {walls}",
    )


def images(bench: Bench, sizes: Sizes) -> Iterator[Bar]:
    """Pictures of 150 KB, out of a Parquet file and out of files of their own."""
    rows = sizes.images
    inputs = {"image": bench.place.images(rows), "path": bench.place.paths(rows)}
    for column, path in inputs.items():
        job = Job(path, rows, in_flight=64, image=column)
        names = ("aiohttp-uv", MIRAGE)
        runs = bench.compete(f"images/{column}", [Entrant(name, name, job) for name in names])
        rates = ", ".join(f"{name} {middle(runs[name], 'rate'):,.0f}" for name in names)
        yield Bar(
            name="images",
            what=f"rows/s ÷ aiohttp-uv, by {column}",
            measured=ratio(runs[MIRAGE], runs["aiohttp-uv"], "rate"),
            target=1.0,
            at_most=False,
            detail=f"rows/s: {rates}",
        )


def memory(bench: Bench, sizes: Sizes) -> Iterator[Bar]:
    """The largest resident set of one process, over few rows and over many."""
    few, many = (
        Job(bench.place.text(rows), rows, in_flight=64, workers=1) for rows in sizes.memory
    )
    entrants = [Entrant(f"{job.rows} rows", MIRAGE, job) for job in (few, many)]
    small, large = (
        median(run.cost.peak_mb for run in runs)
        for runs in bench.compete("memory", entrants).values()
    )
    what = f"peak at {many.rows:,} rows"
    detail = f"MB: {small:.0f} at {few.rows:,} rows, {large:.0f} at {many.rows:,}"
    yield Bar("memory", f"{what} ÷ at {few.rows:,}", large / small, 1.2, detail=detail)
    yield Bar("memory", what, large, 200, unit="MB")


def startup(bench: Bench, sizes: Sizes) -> Iterator[Bar]:
    """What a start costs, in starts of Python itself."""
    place, job = bench.place, Job(bench.place.text(1), 1, in_flight=1)
    runs: dict[str, list[Run]] = {"python": [], "--help": [], "one row": []}
    for _ in range(bench.rounds * STARTS_PER_ROUND):
        output = bench.fresh_folder() / "rows.jsonl"
        one_row = run_command(config_of(job, {"backend": "fake"}, output), output.parent, place)
        commands = {
            "python": [place.python, "-c", "pass"],
            "--help": [place.mirage, "--help"],
            "one row": one_row,
        }
        for label, command in commands.items():
            runs[label].append(bench.start("startup", label, command))
    milliseconds = ", ".join(f"{name} {1e3 * middle(runs[name], 'wall'):.0f}" for name in runs)
    bar = Bar("startup", "mirage --help ÷ python -c pass", 0, 10, detail=f"ms: {milliseconds}")
    yield replace(bar, measured=ratio(runs["--help"], runs["python"], "wall"))
    yield Bar(
        name="startup",
        what="one row on the fake engine ÷ python -c pass",
        measured=ratio(runs["one row"], runs["python"], "wall"),
        target=30,
    )


BARS: dict[str, Callable[[Bench, Sizes], Iterator[Bar]]] = {
    "throughput": throughput,
    "latency": latency,
    "barrier": barrier,
    "images": images,
    "memory": memory,
    "startup": startup,
}
