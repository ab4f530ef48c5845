"""A second process for a run that is too much for one.

Where endpoints answer faster than one process can ask, and enough is left to do, rank 0 starts
another rank, and leaves it half of what may be in flight. Whether they do shows only while the run
goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
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
LONG_SECONDS = 0.5
LEFT_BLOCKS = 2
LEFT_SECONDS = 5.0
DRAIN_SECONDS = 1.0
AGAIN_SECONDS = 60.0
"""How long it does not try again, where another one could not be started."""


class Recruiter(Struct):
    """Looks after rank 0; `team` is where it starts another, if it recruits, not before `again`.
    `last` is when it looked, as CPU time and time, in seconds.
    """

    team: Team
    last: tuple[float, float] = (0.0, 0.0)
    again: float = 0.0

    async def look(self, progress: Progress, engines: Collection[Engine], rows: int) -> None:
        """Asked every second or so; `rows` is the size of a block."""
        if not self.team.rank.recruits:
            return
        if self.team.others:
            if self.team.gone():
                narrow(engines, Rank(0, 1))
            return
        wanted = self._busy() and self.last[1] >= self.again and worth_it(progress, rows)
        if wanted and all(map(divisible, engines)) and not await self._recruit(engines):
            narrow(engines, Rank(0, 1))
            self.again = time.monotonic() + AGAIN_SECONDS

    async def _recruit(self, engines: Collection[Engine]) -> bool:
        """Start another; whether that went well. It is an offer, and no reason to end the run."""
        if await halved(engines):
            with contextlib.suppress(OSError):  # no memory, say
                self.team.start(1, 2)
        return bool(self.team.others)

    def _busy(self) -> bool:
        """Whether this process has had much to do since the last look, if that is long ago: many
        calls begin at once, and say nothing.
        """
        now = time.process_time(), time.monotonic()
        cpu, passed = now[0] - self.last[0], now[1] - self.last[1]
        if passed < LONG_SECONDS:
            return False
        self.last = now
        return cpu >= BUSY * passed


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
    long, the calls are what takes time.
    """
    narrow(engines, Rank(0, 2))
    deadline = time.monotonic() + DRAIN_SECONDS
    while any(engine.window.held > engine.window.limit for engine in engines):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
