"""What a run's folder tells from outside: for `mirage status`, and for whoever else looks on.

Only files that are renamed into place are read here, never a live journal: a run may be looked at
while it goes, from any machine that sees the folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct

from mirage.errors import ConfigError, Mistake, RunError
from mirage.report import ENDED, Counts, Tally, Usage
from mirage.scale.slurm import Task, submitted, waiting
from mirage.work.folder import PartNote, RunFolder, read
from mirage.work.lock import is_owned, owner_of

RUNNING, UNFINISHED, UNSTARTED = "running", "unfinished", "not started"


class Worker(Struct, frozen=True):
    """A process that works on a run: how many records it has settled, how many a second, and how
    many seconds ago it said so.
    """

    who: str
    phase: str
    settled: int
    rate: float
    in_flight: int
    seconds_old: float


class Status(Struct, frozen=True):
    """How a run stands.

    `state` is "running" while a process owns the folder, else how the last one ended: "done",
    "stopped", "interrupted", or "unfinished" where it could not say. `live` is what the last
    process saw (a `Progress` as JSON, empty before the first second), `seconds_old` its age.
    `usage` is what the run has cost: its finished blocks, all attempts together. Of the `blocks`
    found so far some are claimed, and the rest owed. `workers` are the processes that work while
    it runs, the owner first; `jobs` those that SLURM still has, where it can be asked.
    """

    folder: Path
    state: str
    owner: str
    counts: Counts
    usage: Usage
    blocks_done: int
    dataset: str
    live: dict[str, Any]
    seconds_old: float
    blocks: int = 0
    blocks_claimed: int = 0
    workers: list[Worker] = []
    jobs: list[Task] = []


def status(folder: Path) -> Status:
    """Raises ConfigError where the folder is not a run's, RunError where it is damaged."""
    owner = owner_of(folder)
    live = read(folder / "progress.json")
    if not (live or owner or (folder / "run.json").exists() or (folder / "blocks").exists()):
        raise ConfigError([Mistake("", "not the folder of a run", str(folder))])
    phase = live.get("phase", UNSTARTED)
    ended = phase if phase in ("done", "stopped", "interrupted", UNSTARTED) else UNFINISHED
    state = RUNNING if owner else ended
    notes = finished(folder)
    counts, usage = Counts(), Usage()
    for note in notes:
        counts.add(note.counts)
        usage.add(note.usage)
    if state != "done" and live:
        causes = counts.failures
        counts = Counts.from_json(live["counts"])
        counts.failures = Tally(causes | counts.failures)
    return Status(
        folder=folder,
        state=state,
        owner=owner,
        counts=counts,
        usage=usage,
        blocks_done=len(notes),
        dataset=(read(folder / "manifest.json").get("dataset") or "") if state == "done" else "",
        live=live,
        seconds_old=age(live),
        blocks=len(RunFolder(folder).blocks()),
        blocks_claimed=sum(is_owned(lock.parent) for lock in folder.glob("blocks/*/lock")),
        workers=workers(folder, live) if owner else [],
        jobs=jobs(folder),
    )


def age(saved: Mapping[str, Any]) -> float:
    """How many seconds ago a process has saved its progress, as the clocks of both go."""
    return max(time.time() - float(saved.get("time", time.time())), 0.0)


def workers(folder: Path, live: Mapping[str, Any]) -> list[Worker]:
    """The processes of a run that goes on; `live` is what its owner shows, of all together."""
    others = [read(path) for path in sorted(folder.glob("progress-*.json"))]
    if not live or not others:
        return []
    own = dict(live)
    for name in ("rate", "in_flight"):
        own[name] = max(live[name] - sum(saved[name] for saved in others), 0)
    done = settled(live) - sum(settled(saved) for saved in others)
    there = [saved for saved in others if saved["phase"] not in ENDED]
    return [worker(own, max(done, 0)), *(worker(saved, settled(saved)) for saved in there)]


def worker(saved: Mapping[str, Any], done: int) -> Worker:
    """One process by what it has saved."""
    return Worker(saved["who"], saved["phase"], done, saved["rate"], saved["in_flight"], age(saved))


def settled(saved: Mapping[str, Any]) -> int:
    """The records that were settled by who saved this."""
    return int(saved["counts"]["read"]) - int(saved["resumed"])


def jobs(folder: Path) -> list[Task]:
    """The jobs of a run's arrays that wait or run; none where SLURM cannot be asked."""
    try:
        return waiting(submitted(folder / "slurm"))
    except RunError:
        return []


def finished(folder: Path) -> list[PartNote]:
    """The notes of the blocks that have their part."""
    paths = sorted(folder.glob("blocks/*/part.json"))
    try:
        return [PartNote.from_json(found) for path in paths if (found := read(path))]
    except (KeyError, TypeError) as exc:
        raise RunError(f"{folder} is of another version: {exc}") from exc


def failures(folder: Path) -> Iterator[dict[str, Any]]:
    """The failed records of finished blocks, in order: the fields of `Failed`, maybe a `child`."""
    for path in sorted(folder.glob("blocks/*/failed.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                yield orjson.loads(line)


def examples(folder: Path, causes: int) -> dict[str, str]:
    """The first message of every cause, "boundary/kind", in the run's order; at most `causes`."""
    found: dict[str, str] = {}
    for failed in failures(folder):
        found.setdefault(f"{failed['boundary']}/{failed['kind']}", failed["message"])
        if len(found) >= causes:
            break
    return found
