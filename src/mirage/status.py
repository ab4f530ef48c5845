"""What a run's folder tells from outside: for `mirage status`, and for whoever else looks on.

Only files that are renamed into place are read here, never a live journal: a run may be looked at
while it goes, from any machine that sees the folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mirage.errors import ConfigError, Mistake, RunError
from mirage.report import Counts, Tally, Usage
from mirage.work.folder import PartNote, read
from mirage.work.lock import owner_of

RUNNING, UNFINISHED, UNSTARTED = "running", "unfinished", "not started"


@dataclass(frozen=True, slots=True)
class Status:
    """How a run stands.

    `state` is "running" while a process owns the folder, else how the last one ended: "done",
    "stopped", "interrupted", or "unfinished" where it could not say. `live` is what the last
    process saw (a `Progress` as JSON, empty before the first second), `seconds_old` its age.
    `usage` is what the run has cost: its finished blocks, all attempts together.
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
        dataset=read(folder / "manifest.json").get("dataset", "") if state == "done" else "",
        live=live,
        seconds_old=max(time.time() - live.get("time", time.time()), 0.0),
    )


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
