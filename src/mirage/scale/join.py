"""Processes that join a run by themselves, one at a time and from anywhere: jobs of a cluster.

There is no launcher that numbers them, and none that keeps them alive. Whoever finds the run
without an owner becomes it; the others work on blocks until it is done. Where the owner ends before
its time (killed, out of time, asleep for longer than its lease), they finish their calls, and one
of them owns the run next.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from mirage.errors import LockedError
from mirage.report import DONE, ORPHANED, Progress
from mirage.work.rank import Rank

LAUNCH = "join"
PAUSE_SECONDS = 0.2


class Ended(Protocol):
    """How a process's work on a run has ended."""

    @property
    def state(self) -> str: ...
    @property
    def rank(self) -> int: ...
    @property
    def processes(self) -> int: ...
    @property
    def folder(self) -> Path: ...


Summary = TypeVar("Summary", bound=Ended)


def join(count: int, work: Callable[[Rank], Summary]) -> Summary:
    """Let `work` do this process's part of a run, as one of about `count`, until the run is over.

    `work` raises LockedError where the run has another owner, or has just lost it.
    """
    while True:
        for number in (0, secrets.randbelow(1 << 31) + 1):
            with contextlib.suppress(LockedError):
                summary = work(Rank(number, count, LAUNCH, elected=True))
                if summary.state != ORPHANED:
                    return summary
        time.sleep(PAUSE_SECONDS)


def lonely(summary: Ended, count: int, progress: Progress) -> list[str]:
    """A warning where others were to come, and none has: nothing tells two that see different disks
    of each other.
    """
    fresh = progress.settled > progress.resumed
    if summary.state != DONE or summary.rank or not fresh or summary.processes > 1 or count == 1:
        return []
    return [
        f"of about {count} processes this one alone has worked in {summary.folder}: one that ran "
        "elsewhere at the same time sees another disk there, and has made a dataset of its own"
    ]
