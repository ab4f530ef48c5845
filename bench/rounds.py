"""Interleaved rounds: every contestant once, then every contestant again, each round in another
order, so that whatever else the machine does meets all of them alike.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench.contestants import MIRAGE, Job, mirage_command, peer_command, problem_with
from bench.measure import Cost, measure
from bench.server import Server
from bench.workplace import Workplace, say

TIMEOUT = 1_800.0


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant's run of one job. `span` is in seconds, from first request to last answer."""

    cost: Cost
    rows: int
    span: float = 0.0

    @property
    def wall(self) -> float:
        return self.cost.wall

    @property
    def rate(self) -> float:
        """Rows per second of the whole process's life."""
        return self.rows / self.cost.wall

    @property
    def cpu(self) -> float:
        """CPU seconds per 1,000 rows."""
        return 1_000 * self.cost.cpu / self.rows


@dataclass(frozen=True, slots=True)
class Entrant:
    """A contestant with its job, under the name by which its results are shown."""

    label: str
    name: str
    job: Job


@dataclass(frozen=True, slots=True)
class Bench:
    """Measures, and keeps every single result in `log`."""

    place: Workplace
    server: Server
    rounds: int
    log: list[dict[str, Any]] = field(default_factory=list)

    def compete(self, bar: str, entrants: Sequence[Entrant]) -> dict[str, list[Run]]:
        """The runs of each entrant, one per round, by label."""
        runs: dict[str, list[Run]] = {entrant.label: [] for entrant in entrants}
        for number in range(self.rounds):
            turn = number % len(entrants)
            for entrant in [*entrants[turn:], *entrants[:turn]]:
                run = self._run(entrant)
                runs[entrant.label].append(run)
                self._note(bar, entrant.label, run)
        return runs

    def start(self, bar: str, label: str, command: Sequence[str | Path]) -> Run:
        """Measure a command that does one row, or none: what counts is its start."""
        cost = measure(command, self.place.folder / "log.txt", TIMEOUT)
        if cost.exit_code:
            raise SystemExit(f"bench: {label} ended with {cost.exit_code}: {self._last_words()}")
        run = Run(cost, 1)
        self._note(bar, label, run)
        return run

    def fresh_folder(self) -> Path:
        """An empty folder for one run's output."""
        folder = self.place.folder / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def _run(self, entrant: Entrant) -> Run:
        job, place, url = entrant.job, self.place, self.server.base_url
        output = self.fresh_folder() / "rows.jsonl"
        if entrant.name == MIRAGE:
            command = mirage_command(job, output, url, place)
        else:
            command = peer_command(entrant.name, job, output, url, place)
        self.server.set(job.latency)
        cost = measure(command, place.folder / "log.txt", TIMEOUT)
        seen = self.server.seen()
        problem = f"exit code {cost.exit_code}: {self._last_words()}" if cost.exit_code else ""
        if not problem and (seen.calls, seen.rows) != (job.rows, job.rows):
            problem = f"{seen.calls} calls for {seen.rows} of {job.rows} rows"
        problem = problem or problem_with(output, job)
        if problem:
            raise SystemExit(f"bench: {entrant.label}: {problem}")
        self.fresh_folder()
        return Run(cost, job.rows, seen.span_s)

    def _last_words(self) -> str:
        lines = (self.place.folder / "log.txt").read_text(errors="replace").splitlines()
        return " / ".join(lines[-3:])

    def _note(self, bar: str, label: str, run: Run) -> None:
        self.log.append({"bar": bar, "contestant": label, **asdict(run)})
        cost = run.cost
        say(f"{bar:12} {label:16} {cost.wall:7.2f} s {cost.cpu:7.2f} cpu {cost.peak_mb:5.0f} MB")


Figure = Literal["wall", "rate", "cpu", "span"]


def ratio(runs: Sequence[Run], others: Sequence[Run], what: Figure) -> float:
    """The median over the rounds of one contestant's figure divided by the other's."""
    pairs = zip(figures(runs, what), figures(others, what), strict=True)
    return median(figure / other for figure, other in pairs)


def middle(runs: Sequence[Run], what: Figure) -> float:
    return median(figures(runs, what))


def figures(runs: Sequence[Run], what: Figure) -> list[float]:
    return [getattr(run, what) for run in runs]
