"""THE WAY: the loop that every record takes.

    1. `Survey` cuts the source into blocks (survey.py).
    2. `Reader` claims a block and reads the records that have no outcome yet (owed.py, feed.py).
    3. A free worker takes the next one and lets it `travel` through the steps (journey.py).
    4. Each completion is journalled before the record goes on (journal/).
    5. The record's entry is journalled: written, dropped or failed.
    6. A block whose every record is settled is assembled into a part (assemble.py).
    7. When every block has its part, and the counts of all parts add up,
    8. the dataset is published (publish.py).

No record waits for another, and no block for the one before it. Several processes may share a run,
each with blocks of its own (rank.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct, field

from mirage.errors import LockedError, MirageError, RunError, StoppedError
from mirage.journal import FAILED, PARTIAL, Writer
from mirage.places import Place
from mirage.report import Counts, Progress
from mirage.work.assemble import Workplace, assemble
from mirage.work.feed import Feed
from mirage.work.gate import OPEN
from mirage.work.journey import Crew, halted, travel
from mirage.work.lock import Lock
from mirage.work.owed import BlockRun, Reader, Wanted
from mirage.work.publish import publish, standing, told
from mirage.work.rank import ALONE, Rank
from mirage.work.survey import Follower, Survey

AHEAD = 16
SHARE_JUDGED_AFTER = 100


class Pipeline(Struct):
    """One run over all that is owed. `stop` ends it early, and what is under way is finished.

    `lock` is that of the run, where this process owns it.
    """

    work: Workplace
    crew: Crew
    target: Place
    wanted: Wanted | None = None
    reason: str = ""
    warnings: list[str] = []
    rank: Rank = ALONE
    lock: Lock | None = None
    feed: Feed | None = None
    overslept: bool = False
    open: set[BlockRun] = set()
    stopped: threading.Event = field(default_factory=threading.Event)
    assembling: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def progress(self) -> Progress:
        return self.crew.progress

    async def run(self) -> None:
        """Settle every owed record and assemble every block; then publish.

        Raises StoppedError where it was stopped, after what was under way is journalled.
        """
        survey, writer = self._survey(), Writer(self._calls)
        reader = self._reader(writer)
        try:
            await asyncio.to_thread(survey.start)
            if self.lock is not None and self.rank.shares:
                self.work.folder.gate.write(self.lock, OPEN, self.work.makes)
            if self.rank.shares:
                reader.opened = self.work.folder.gate.opened()
            async with asyncio.TaskGroup() as group:
                finish = partial(self._finish, group)
                self.feed = Feed(reader.batches(survey), finish)
                group.create_task(self.feed.supply())
                for _ in range(self._slots()):
                    group.create_task(self._worker(self.feed, finish))
        except BaseExceptionGroup as errors:
            raise first(errors) from errors
        finally:
            self.stopped.set()
            survey.stop()
            await self._close(writer)
        if self.reason:
            raise (LockedError if self.overslept else StoppedError)(self.reason)
        if self.lock is not None:
            self.lock.check()
            await asyncio.to_thread(self._publish)

    def _survey(self) -> Survey | Follower:
        work = self.work
        if self.rank.owns:
            return Survey(work.source, work.folder, self.progress, work.plan.bounds)
        return Follower(work.source, work.folder, self.stopped)

    def _reader(self, writer: Writer) -> Reader:
        plan, folder, source = self.work.plan, self.work.folder, self.work.source
        reader = Reader(plan, source, folder, writer, self.progress, self.wanted)
        reader.torn, reader.open, reader.stopped = self.warnings, self.open, self.stopped
        reader.rank = self.rank
        return reader

    def _slots(self) -> int:
        """How many records are under way: enough to keep every engine's window full."""
        if not self.rank.works:
            return 1  # which waits for the others
        capacity = sum(engine.capacity for engine in self.crew.engines.values())
        return capacity + (0 if self.work.plan.only_asks else max(AHEAD, capacity // 4))

    def _calls(self) -> float:
        """How many calls may be in flight; fewer than at first once another process has a share."""
        return sum(engine.window.limit for engine in self.crew.engines.values())

    async def _close(self, writer: Writer) -> None:
        """Bring to disk what is journalled of blocks that are not finished."""
        if self.feed is not None:
            await self.feed.close()
        for run in self.open:
            with contextlib.suppress(RunError):  # a writer that broke has ended the run already
                await run.journal.close()
        with contextlib.suppress(RunError):
            await writer.close()
        for run in self.open:
            run.journal.release()
            run.claim.release()

    def look(self) -> None:
        """Stop where another process has taken a block over: this one was asleep."""
        if not all(run.claim.held for run in tuple(self.open)):
            self.overslept = self.overslept or not self.reason
            self.stop("a block has been taken over by another process")

    def stop(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.crew.halt()
        self.stopped.set()
        if self.feed is not None:
            self.feed.stop()

    # -- records ---------------------------------------------------------------------------------

    async def _worker(self, feed: Feed, finish: Callable[[BlockRun], None]) -> None:
        while (owed := await feed.take()) is not None:
            if not self.crew.started:
                await self.crew.ready()
            run = owed.run
            entries = await travel(owed, self.crew)
            if self.crew.halting and halted(entries):
                continue
            run.journal.settle(entries)
            run.owed -= 1
            self.progress.counts.count(entries[0].kind)
            if failures := [entry.detail["failure"] for entry in entries if entry.kind == FAILED]:
                self.progress.explain(failures, by_row=entries[0].kind == PARTIAL)
                self._judge("{boundary}/{kind}: {message}".format(**failures[0]))
            if run.read and not run.owed:
                finish(run)

    def _judge(self, failure: str) -> None:
        """After a failure: stop where the configuration allows no more of them."""
        if self.work.plan.on_error == "stop":
            self.stop(f"a record failed, and `on_error` is stop: {' '.join(failure.split())}")
        if reason := too_many(self.progress.counts, self.work.plan.max_failures):
            self.stop(reason)

    # -- blocks ----------------------------------------------------------------------------------

    def _finish(self, group: asyncio.TaskGroup, run: BlockRun) -> None:
        """Every record of a block is settled: assemble it."""
        group.create_task(self._assemble(run))

    async def _assemble(self, run: BlockRun) -> None:
        await run.journal.close()
        async with self.assembling:
            run.claim.check()  # it may have slept through its lease
            note = await asyncio.to_thread(assemble, run.block, self.work)
        run.claim.release()
        self.open.discard(run)
        self.progress.blocks_done += 1
        if note.rejected:
            self.progress.counts.written -= note.spoiled
            self.progress.counts.failed += note.spoiled
            self._judge(f"{note.rejected[0].boundary}/{note.rejected[0].kind}")

    # -- the dataset -----------------------------------------------------------------------------

    def _publish(self) -> None:
        self.progress.phase = "publishing"
        work, most = self.work, self.work.plan.max_failures
        blocks = work.folder.blocks()
        if sum(block.rows for block in blocks) != self.progress.surveyed:
            raise RunError(f"{work.folder.root} has lost blocks from its list: run again")
        found = standing(work, blocks)
        if found.owed:
            raise RunError(f"the dataset is not complete: {told(found.owed)}")
        publish(work, self.target, found, lambda counts: too_many(counts, most))


def too_many(counts: Counts, limit: float | int | None) -> str:
    """Why the failures are more than `max_failures` allows; empty where they are not."""
    if isinstance(limit, float):
        if counts.settled >= SHARE_JUDGED_AFTER and counts.failed > limit * counts.settled:
            share = counts.failed / counts.settled
            return f"{share:.1%} of the records failed; `max_failures` is {limit:.1%}"
    elif limit is not None and counts.failed > limit:
        return f"{counts.failed:,} records failed; `max_failures` is {limit:,}"
    return ""


def first(errors: BaseExceptionGroup[Any]) -> BaseException:
    """The error that ended a group of tasks: our own before what followed from it."""
    flat = [e for e in errors.exceptions if not isinstance(e, BaseExceptionGroup)]
    flat += [first(e) for e in errors.exceptions if isinstance(e, BaseExceptionGroup)]
    return next((e for e in flat if isinstance(e, MirageError)), flat[0])
