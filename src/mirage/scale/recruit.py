"""A second process for a run that is too much for one.

Where endpoints answer faster than one process can ask, and enough is left to do, rank 0 starts
another rank, and leaves it half of what may be in flight. Whether they do shows only while the run
goes on.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection
from typing import Any

from msgspec import Struct

from mirage.record import Engine
from mirage.report import Progress
from mirage.scale.local import Team
from mirage.work.rank import Rank

BUSY = 0.75
"""The share of a core from which on a process holds the endpoints up: it also waits for its disk,
and for others on its machine.
"""
LEFT_BLOCKS = 2
LEFT_SECONDS = 5.0
DRAIN_SECONDS = 1.0


class Recruiter(Struct):
    """Looks after rank 0; `team` is where it starts another. `last` is when it looked, as CPU time
    and time, in seconds.
    """

    team: Team
    last: tuple[float, float] = (0.0, 0.0)

    async def look(self, progress: Progress, engines: Collection[Engine], rows: int) -> None:
        """Asked every second or so; `rows` is the size of a block."""
        if self.team.others:
            if self.team.others[0].poll() is not None:
                narrow(engines, Rank(0, 1))
            return
        busy = self._busy()
        wanted = busy and worth_it(progress, rows) and all(map(divisible, engines))
        if wanted and await halved(engines):
            self.team.start(1, 2)

    def _busy(self) -> bool:
        """Whether this process has had much to do since the last look."""
        before, self.last = self.last, (time.process_time(), time.monotonic())
        return self.last[0] - before[0] >= BUSY * (self.last[1] - before[1])


def worth_it(progress: Progress, rows: int) -> bool:
    """Whether so much is left that another process is at work in time, and finds blocks."""
    left = progress.surveyed - progress.settled
    return left >= LEFT_BLOCKS * rows and left >= LEFT_SECONDS * progress.rate


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def divisible(engine: Any) -> bool:
    """Whether two processes can share what an engine may do: an endpoint without a budget."""
    return hasattr(engine, "narrow") and not engine.paced and engine.capacity > 1


def narrow(engines: Collection[Any], rank: Rank) -> None:
    """Leave a rank its share of what each engine may have in flight."""
    for engine in engines:
        engine.narrow(rank.share(engine.capacity))


async def halved(engines: Collection[Any]) -> bool:
    """Whether all have no more than half of their calls in flight from here on. Where that takes
    long, the calls are what takes time, and everything stays as it is.
    """
    narrow(engines, Rank(0, 2))
    deadline = time.monotonic() + DRAIN_SECONDS
    while any(engine.window.held > engine.window.limit for engine in engines):
        if time.monotonic() > deadline:
            narrow(engines, Rank(0, 1))
            return False
        await asyncio.sleep(0.01)
    return True
