"""What the ranks of a run tell each other, through small files that each renames into place.

Every rank saves its own progress; the first reads what the others have saved, shows the sum, and
says when all must stop. The others stop as well when the first is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, field

from mirage.errors import RunError
from mirage.pipeline import too_many
from mirage.report import Progress
from mirage.work.folder import RunFolder
from mirage.work.gate import OPEN, Sign
from mirage.work.rank import Rank

DONE, STOPPED, INTERRUPTED = "done", "stopped", "interrupted"
ENDED = (DONE, STOPPED, INTERRUPTED)
LOOK_SECONDS = 0.05
OWNER_SECONDS = 300.0
LAST_WORDS_SECONDS = 5.0


@dataclass(slots=True)
class RollCall:
    """One rank's view of all: `mine` is its own progress, `shown` that of all ranks together.

    The two are one where it is alone.
    """

    folder: RunFolder
    rank: Rank
    shown: Progress
    max_failures: float | int | None = None
    mine: Progress = field(init=False)
    entered: Sign = field(init=False)

    def __post_init__(self) -> None:
        self.mine = self.shown if self.rank.count == 1 else Progress()

    def enter(self, makes: str) -> None:
        """Wait until rank 0 of the same launch has found that the run can begin. Raises RunError
        where it never does, or where it makes something else than this rank would.
        """
        deadline = time.monotonic() + OWNER_SECONDS
        while (sign := self.folder.gate.entry(self.rank.launch)) is None:
            if self.rank.parent not in (0, os.getppid()):
                raise RunError(f"rank 0 has ended before the run in {self.folder.root} began")
            if time.monotonic() > deadline:
                raise RunError(
                    f"rank 0 has not begun the run in {self.folder.root} for {OWNER_SECONDS:.0f} "
                    "s: has it failed, or is that folder not the same for all ranks?"
                )
            time.sleep(LOOK_SECONDS)
        if sign.makes not in ("", makes):
            raise RunError(f"rank {self.rank.number} has another configuration than rank 0")
        self.entered = sign

    def look(self) -> str:
        """Save what this rank has done; returns why it must stop, empty where it need not."""
        with contextlib.suppress(OSError):  # whoever writes what counts will say so
            self.save()
        if self.rank.count == 1:
            return ""
        if self.rank.owns:
            return self._trouble()
        return "" if self.folder.gate.admits(self.entered) else "rank 0 has ended"

    def save(self) -> None:
        if not self.rank.owns and not self.folder.gate.follows(self.entered):
            return  # another launch has this place now
        if self.rank.owns and self.rank.count > 1:
            self.shown.phase = self.mine.phase
            self.shown.sum_up(self.mine, self._others())
        own = self.shown if self.rank.owns else self.mine
        own.save(self.folder.root, self.rank.number)

    def _trouble(self) -> str:
        """Where one has stopped, or all have too many failures together, they all stop."""
        for number, other in enumerate(self._others(), 1):
            if other.phase == STOPPED:
                return f"rank {number}: {other.trouble}"
        return too_many(self.shown.counts, self.max_failures)

    def _others(self) -> list[Progress]:
        return [Progress.load(self.folder.root, n) for n in range(1, self.rank.count)]

    def verdict(self, reason: str) -> tuple[str, str]:
        """How this rank has ended, and why, where it was stopped: well where the owner has."""
        sign = None if self.rank.owns else self.folder.gate.read()
        if sign is not None and sign.state == DONE and sign.lock == self.entered.lock:
            return DONE, ""
        return STOPPED, reason

    def close(self, state: str) -> None:
        """Have the other ranks of the launch end, those too that have yet to begin; the first word
        counts.
        """
        if self.rank.count == 1:
            return
        sign = self.folder.gate.read()
        if sign is None or sign.state == OPEN:
            self.folder.gate.write(self.rank.launch, state, "" if sign is None else sign.makes)

    async def end(self, state: str, reason: str) -> None:
        """The last word of this rank; the owner waits for that of the others, if not for long."""
        self.mine.trouble = self.shown.trouble = reason
        if self.rank.owns and self.rank.count > 1:
            self.close(state)
            deadline = time.monotonic() + LAST_WORDS_SECONDS
            while any(each.phase not in ENDED for each in self._others()):
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(LOOK_SECONDS)
        self.mine.phase = self.shown.phase = state
        self.save()
