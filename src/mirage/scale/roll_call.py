"""What the ranks of a run tell each other, through small files that each renames into place.

Every rank saves its own progress; the first reads what the others have saved, shows the sum, and
says when all must stop. The others stop as well when the first is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable

from msgspec import Struct, field

from mirage import __version__
from mirage.errors import LockedError, RunError
from mirage.pipeline import too_many
from mirage.report import (
    DONE,
    ENDED,
    INTERRUPTED,
    ORPHANED,
    STOPPED,
    Progress,
    others,
    progress_file,
)
from mirage.work.folder import RunFolder
from mirage.work.gate import OPEN, Sign
from mirage.work.lock import Lock, is_owned, launch_of, owner_of
from mirage.work.rank import Rank

OWNER_GONE = "rank 0 has ended"
TAKEN_OVER = "another process has taken the run over"
LOOK_SECONDS = 0.05
OWNER_SECONDS = 300.0
LAST_WORDS_SECONDS = 5.0


class RollCall(Struct):
    """One rank's view of all: `mine` is its own progress, `shown` that of all ranks together.

    The two are one where it is alone, or has joined by itself and does not own the run. `lock` is
    the owner's.
    """

    folder: RunFolder
    rank: Rank
    shown: Progress
    max_failures: float | int | None = None
    mine: Progress = field(default_factory=Progress)
    entered: Sign = Sign()  # nobody's, until it enters
    lock: Lock | None = None

    def __post_init__(self) -> None:
        if not self.rank.shares or (self.rank.elected and not self.rank.owns):
            self.mine = self.shown

    def enter(self, makes: str) -> None:
        """Wait until rank 0 of the same launch has found that the run can begin. Raises RunError
        where it never does, or where it makes something else than this rank would; LockedError
        where the run has lost the owner that elected ranks were waiting for.
        """
        deadline = time.monotonic() + OWNER_SECONDS
        while (sign := self.folder.gate.entry(self.rank.launch)) is None:
            if self.rank.parent not in (0, os.getppid()):
                raise RunError(f"rank 0 has ended before the run in {self.folder.root} began")
            if self.rank.elected:
                self._expect_owner()
            if time.monotonic() > deadline:
                raise RunError(
                    f"rank 0 has not begun the run in {self.folder.root} for {OWNER_SECONDS:.0f} "
                    "s: has it failed, or is that folder not the same for all ranks?"
                )
            time.sleep(LOOK_SECONDS)
        self._compare(sign, makes)
        self.entered = sign

    def _compare(self, sign: Sign, makes: str) -> None:
        """Raise RunError where this rank is not of one kind with the owner."""
        who = "this process" if self.rank.elected else f"rank {self.rank.number}"
        if sign.version != __version__:
            theirs = sign.version or "another version"
            message = f"is MIRAGE {__version__}, the owner of the run, rank 0, {theirs}"
            raise RunError(f"{who} {message}: give all of them the same")
        if sign.makes not in ("", makes):
            raise RunError(f"{who} has another configuration than the owner of the run, rank 0")

    def _expect_owner(self) -> None:
        """Raise LockedError where nobody owns the run any more, RunError where its owner shares it
        with others, or not at all.
        """
        root = self.folder.root
        if not is_owned(root) or (launch := launch_of(root)) is None:
            raise LockedError(f"the run in {root} has no owner any more")
        if launch not in ("", self.rank.launch):
            raise RunError(f"the run in {root} is shared by others: {owner_of(root)} and its ranks")
        if not launch:
            message = f"{owner_of(root)}, which does not share it: wait, or start it with --join"
            raise RunError(f"the run in {root} is in use by {message}")

    def look(self) -> str:
        """Save what this rank has done; returns why it must stop, empty where it need not."""
        if self.rank.owns and self.lost:
            return TAKEN_OVER
        self.save()
        if not self.rank.shares:
            return ""
        if self.rank.owns:
            return self._trouble()
        return "" if self.led else OWNER_GONE

    @property
    def lost(self) -> bool:
        """Whether the run has another owner by now: this rank, or its owner, was asleep."""
        if self.lock is not None:
            return not self.lock.held
        return not self.rank.owns and not self.folder.gate.follows(self.entered)

    def save(self) -> None:
        if self.lost:
            return  # another launch has this place now
        if self.rank.owns and self.rank.shares:
            self.shown.phase = self.mine.phase
            self.shown.sum_up(self.mine, self._others())
        own = self.shown if self.rank.owns else self.mine
        with contextlib.suppress(OSError):  # swept by a new owner; or whoever writes what counts
            own.save(self.folder.root, self.rank.number)  # will say so

    def dismiss(self, ranks: Iterable[int]) -> None:
        """Of ranks that have ended, say the last word that they could not: they have nothing in
        flight, and nobody waits for them.
        """
        root = self.folder.root
        for number in ranks:
            left = Progress.load(progress_file(root, number))
            if left.phase not in ENDED:
                left.phase, left.in_flight, left.window = INTERRUPTED, 0, 0
                with contextlib.suppress(OSError):
                    left.save(root, number)

    def _trouble(self) -> str:
        """Where one has stopped, or all have too many failures together, they all stop."""
        for other in self._others():
            if other.phase == STOPPED:
                return f"{other.who}: {other.trouble}"
        return too_many(self.shown.counts, self.max_failures)

    def _others(self) -> list[Progress]:
        """What the other ranks have saved; those of a launcher that have yet to, as well."""
        saved = others(self.folder.root)
        return saved + [Progress()] * (0 if self.rank.elected else self.rank.count - 1 - len(saved))

    @property
    def led(self) -> bool:
        """Whether the owner is there, and has yet to publish."""
        return self.folder.gate.admits(self.entered)

    def verdict(self, reason: str) -> tuple[str, str]:
        """How this rank has ended, and why, where it was stopped: well where the owner has."""
        if self.rank.owns:
            return ORPHANED if self.rank.elected and self.lost else STOPPED, reason
        sign = self.folder.gate.read()
        last = sign.state if sign is not None and sign.lock == self.entered.lock else ""
        if last == DONE:
            return DONE, ""
        if self.rank.elected and last != STOPPED and reason == OWNER_GONE:
            return ORPHANED, reason
        return STOPPED, reason

    def close(self, state: str) -> None:
        """Have the other ranks of the launch end, those too that have yet to begin; the first word
        counts.
        """
        if not self.rank.shares or self.lock is None or self.lost:
            return
        sign = self.folder.gate.read()
        if sign is None or sign.state == OPEN:
            self.folder.gate.write(self.lock, state, "" if sign is None else sign.makes)

    async def end(self, state: str, reason: str) -> None:
        """The last word of this rank; the owner waits for that of the others, if not for long."""
        self.mine.trouble = self.shown.trouble = reason
        if self.rank.owns and self.rank.shares and not self.lost:
            self.close(state)
            deadline = time.monotonic() + LAST_WORDS_SECONDS
            while any(each.phase not in ENDED for each in self._others()):
                if time.monotonic() > deadline:
                    break
                await asyncio.sleep(LOOK_SECONDS)
        self.mine.phase = self.shown.phase = state
        self.save()
