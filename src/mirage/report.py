"""Counts, rates and tokens: what the terminal, the manifest, `status` and the summary all show.

`Counts` adds up over blocks; its sums are the proof that nothing was lost. `Progress` is one
process's live view, which it renames into place as `progress.json` for others to read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct, field, to_builtins
from msgspec.structs import asdict

from mirage.atomic import show
from mirage.record import Completion

LONGEST_EXAMPLE = 500
DONE, STOPPED, INTERRUPTED = "done", "stopped", "interrupted"
ORPHANED = "orphaned"
"""An elected rank whose owner has ended before the run was done."""
ENDED = (DONE, STOPPED, INTERRUPTED, ORPHANED)


def add(mine: Any, theirs: Any) -> None:
    """Add every field of a struct to the same field of another."""
    for name, value in asdict(theirs).items():
        setattr(mine, name, getattr(mine, name) + value)


class Tally(dict[str, int]):
    """Numbers by name; 0 for a name not seen."""

    def __missing__(self, name: str) -> int:
        return 0

    def __add__(self, other: Mapping[str, int]) -> Tally:
        return Tally({name: self[name] + other.get(name, 0) for name in {**self, **other}})


class Counts(Struct):
    """What became of records, and of the rows they made.

    `failures` counts by "boundary/kind", `drops` by reason; `by_row` says of both how many of a
    name were rows of `many`, which fail and drop by themselves.
    """

    read: int = 0
    written: int = 0
    dropped: int = 0
    failed: int = 0
    rows_made: int = 0
    rows_written: int = 0
    rows_dropped: int = 0
    rows_failed: int = 0
    failures: Tally = field(default_factory=Tally)
    drops: Tally = field(default_factory=Tally)
    by_row: Tally = field(default_factory=Tally)

    def add(self, other: Counts) -> None:
        add(self, other)

    def count(self, kind: str) -> None:
        """One record has been settled, as `kind`."""
        self.read += 1
        if kind == "written":
            self.written += 1
        elif kind == "dropped":
            self.dropped += 1
        else:
            self.failed += 1

    @property
    def settled(self) -> int:
        return self.written + self.dropped + self.failed

    @property
    def balanced(self) -> bool:
        """Whether every record, and every row, is accounted for."""
        rows = self.rows_made == self.rows_written + self.rows_dropped + self.rows_failed
        return self.read == self.settled and rows

    @property
    def fruitless(self) -> bool:
        """Whether there is no row, and nothing but failures is to blame: such a dataset is not
        published.
        """
        return self.failed > 0 and not (self.rows_written or self.dropped or self.rows_dropped)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Counts:
        named = ("failures", "drops", "by_row")
        counted = {name: Tally(data.get(name, {})) for name in named}
        return cls(**{**data, **counted})


class Usage(Struct):
    """What model calls cost. `attempts` counts tries that failed as well, `recalled` the answers
    that were known already; `seconds` is summed over calls.
    """

    calls: int = 0
    recalled: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def add(self, other: Usage) -> None:
        add(self, other)

    def count(self, completion: Completion) -> None:
        c = completion
        self.pay(c.prompt_tokens, c.completion_tokens, c.seconds, c.attempts)

    def pay(
        self, prompt_tokens: int, completion_tokens: int, seconds: float, attempts: int
    ) -> None:
        """Count one call."""
        self.calls += 1
        self.attempts += attempts
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.seconds += seconds


class Progress(Struct):
    """A run as it goes. `total` is None until the whole source has been surveyed.

    `examples` holds the first message of each cause of failure, "boundary/kind"; `trouble` says why
    a process has stopped, `who` which process it is; `processes` is how many have taken part.
    """

    counts: Counts = field(default_factory=Counts)
    usage: Usage = field(default_factory=Usage)
    total: int | None = None
    surveyed: int = 0
    resumed: int = 0
    blocks: int = 0
    blocks_done: int = 0
    in_flight: int = 0
    window: int = 0
    phase: str = "starting"
    started: float = field(default_factory=time.time)
    examples: dict[str, str] = {}
    trouble: str = ""
    who: str = ""
    processes: int = 1

    def begin(self, who: str) -> None:
        """Forget what was shown before: the same process, in another role or another run."""
        for name, value in asdict(Progress(who=who)).items():
            setattr(self, name, value)

    @property
    def settled(self) -> int:
        return self.counts.settled

    @property
    def rate(self) -> float:
        """Records settled per second by this process, what it found done not counted."""
        seconds = time.time() - self.started
        return max(self.settled - self.resumed, 0) / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate; None while the total or the rate is unknown."""
        if self.total is None or not self.rate:
            return None
        return (self.total - self.settled) / self.rate

    def explain(self, failures: Iterable[Mapping[str, Any]], *, by_row: bool) -> None:
        """Why a record has failed; `by_row` where it was some of its children alone."""
        for failure in failures:
            cause = f"{failure['boundary']}/{failure['kind']}"
            self.counts.failures[cause] += 1
            if by_row:
                self.counts.by_row[cause] += 1
            self.examples.setdefault(cause, str(failure["message"])[:LONGEST_EXAMPLE])

    def sum_up(self, mine: Progress, others: Iterable[Progress]) -> None:
        """Show several ranks' progress as one; what only their owner knows is in `mine`. Where it
        is the only one, counts and usage are its own, and hence always fresh.
        """
        counts, usage = mine.counts, mine.usage
        parts = [mine, *others]
        if len(parts) > 1:
            counts, usage = Counts(), Usage()
            for part in parts:
                counts.add(part.counts)
                usage.add(part.usage)
        for part in parts:
            self.examples |= part.examples
        self.processes = len({part.who for part in parts if part.who})
        self.counts, self.usage = counts, usage
        for name in ("in_flight", "window", "resumed"):
            setattr(self, name, sum(getattr(part, name) for part in parts))
        for name in ("total", "surveyed", "blocks", "blocks_done"):
            setattr(self, name, getattr(mine, name))

    def save(self, folder: Path, rank: int = 0) -> None:
        shown = to_builtins(self) | {"rate": self.rate, "seconds_left": self.seconds_left}
        show(progress_file(folder, rank), orjson.dumps(shown | {"time": time.time()}))

    @classmethod
    def load(cls, file: Path) -> Progress:
        """What a process has saved last; nothing yet where it has not, or is of another version."""
        try:
            found = orjson.loads(file.read_bytes())
            known = {name: found[name] for name in cls.__struct_fields__}
            known |= {"counts": Counts.from_json(found["counts"]), "usage": Usage(**found["usage"])}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return cls()
        return cls(**known)


def others(folder: Path) -> list[Progress]:
    """What the ranks of a run that do not own it have saved."""
    return [Progress.load(file) for file in sorted(folder.glob("progress-*.json"))]


def progress_file(folder: Path, rank: int) -> Path:
    return folder / (f"progress-{rank}.json" if rank else "progress.json")
