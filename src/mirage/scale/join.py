"""Processes that join a run by themselves, one at a time and from anywhere: jobs of a cluster.

There is no launcher that numbers them, and none that keeps them alive. Whoever finds the run
without an owner becomes it; the others work on blocks until it is done. Where the owner ends before
its time (killed, out of time, asleep for longer than its lease), they finish their calls, and one
of them owns the run next.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from mirage.errors import LockedError
from mirage.report import DONE, ORPHANED, Usage
from mirage.scale.token import TOKEN, find
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
    def usage(self) -> Usage: ...
    @property
    def folder(self) -> Path: ...
    @property
    def warnings(self) -> list[str]: ...


Summary = TypeVar("Summary", bound=Ended)


def join(
    count: int, folder: Path, work: Callable[..., Summary], *, accept_changes: bool = False
) -> Summary:
    """Let `work` do this process's part of a run, as one of about `count`, until the run is over.

    It is called with a rank and whether to accept changes of the source, which an heir need not:
    the owner whom it has followed did. It raises LockedError where the run has another owner, or
    has just lost it. Processes that see different disks as the run's `folder` cannot know of each
    other, unless a token was left there (token.py): a warning says so where no other came.
    """
    token = os.environ.get(TOKEN, "")
    find(folder, token)
    met, paid = False, Usage()
    while True:
        for number in (0, secrets.randbelow(1 << 31) + 1):
            with contextlib.suppress(LockedError):
                rank = Rank(number, count, LAUNCH, elected=True)
                summary = work(rank, accept_changes=accept_changes)
                accept_changes = False
                summary.usage.add(paid)
                paid = summary.usage
                if summary.state != ORPHANED:
                    summary.warnings.extend([] if met or token or count == 1 else lonely(summary))
                    return summary
            met = True
        time.sleep(PAUSE_SECONDS)


def lonely(summary: Ended) -> list[str]:
    """A warning where a process has made the dataset by itself."""
    if summary.state != DONE or summary.rank or summary.processes > 1 or not summary.usage.calls:
        return []
    return [
        f"no other process has worked in {summary.folder}: one that ran elsewhere at the same time "
        "sees another disk there, and has made a dataset of its own"
    ]
