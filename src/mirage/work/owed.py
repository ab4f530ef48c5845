"""What is owed: the blocks of the source, and of each the records that have no outcome yet.

This is the reading side of the pipeline. It runs in threads, ahead of the records under way.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mirage.errors import LockedError
from mirage.journal import FAILED, PARTIAL, RECORD, Entry, Journal, Writer
from mirage.plan import Plan
from mirage.record import FileState, Record
from mirage.report import Progress
from mirage.sources.blocks import Block, Bounds, Readable, blocks
from mirage.value import value
from mirage.work.folder import PartNote, RunFolder
from mirage.work.lock import Lock

BATCH = 128
LOOK_AGAIN_SECONDS = 0.2

Wanted = Callable[[str, str], bool]
"""Whether a failure, given its boundary and kind, is to be tried again."""


class Survey:
    """The blocks of a run: those stored before, then those found in the source, ahead in a thread.

    Each new block, no larger than `bounds`, is stored before it is handed out. Only the owner of
    the run makes a survey; the other ranks follow it.
    """

    def __init__(
        self, source: Readable, folder: RunFolder, progress: Progress, bounds: Bounds
    ) -> None:
        self._source, self._folder, self._progress = source, folder, progress
        self._bounds = bounds
        self._list = folder.block_list()
        self._found = self._list.more()
        self._progress.surveyed = sum(block.rows for block in self._found)
        self._more = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._files: list[FileState] = []
        self._thread = threading.Thread(target=self._run, name="survey", daemon=True)

    def start(self) -> None:
        """Check the stored blocks, and begin to look for others.

        The files' states are taken before they are read, so that later changes show.
        """
        self._files = self._folder.check_source(self._source)
        self._folder.set_files(self._files)
        self._thread.start()

    def _run(self) -> None:
        try:
            for block in blocks(self._source, tuple(self._found), self._bounds):
                if self._ended:
                    return
                self._list.append(block)
                with self._more:
                    self._found.append(block)
                    self._progress.surveyed += block.rows
                    self._more.notify()
            known = {state.file for state in self._files}
            further = (state for state in self._source.files() if state.file not in known)
            self._folder.set_files([*self._files, *further], complete=True)
            self._progress.total = self._progress.surveyed
        except BaseException as exc:  # noqa: BLE001 - raised again in the reader's thread
            self._error = exc
        finally:
            with self._more:
                self._ended = True
                self._more.notify()

    def __iter__(self) -> Iterator[Block]:
        at = 0
        while (block := self._block(at)) is not None:
            yield block
            at += 1

    def _block(self, at: int) -> Block | None:
        """The block with this number, once it is found; None after the last one."""
        with self._more:
            self._more.wait_for(lambda: len(self._found) > at or self._ended)
            if self._error is not None:
                raise self._error
            return self._found[at] if len(self._found) > at else None

    def stop(self) -> None:
        self._ended = True
        if self._thread.is_alive():
            self._thread.join()


class Follower:
    """The blocks of a run as its owner finds them, for the other ranks."""

    def __init__(self, folder: RunFolder, stopped: threading.Event) -> None:
        self._folder = folder
        self._stopped = stopped

    def start(self) -> None:
        """Nothing to check: the owner has."""

    def __iter__(self) -> Iterator[Block]:
        found, complete = self._folder.block_list(), False
        while not complete:
            complete = self._folder.surveyed  # asked first: the last block may come in between
            yield from found.more()
            if not complete and self._stopped.wait(LOOK_AGAIN_SECONDS):
                return

    def stop(self) -> None:
        self._stopped.set()


@dataclass(slots=True, eq=False)
class BlockRun:
    """A block under way: `owed` records are handed out and not settled; is all of it `read`?

    Both are the event loop's to change.
    """

    block: Block
    journal: Journal
    claim: Lock
    owed: int = 0
    read: bool = False
    pending: dict[bytes, asyncio.Future[None]] = field(default_factory=dict)
    entries: dict[tuple[int, int], Entry] = field(default_factory=dict)


@value(frozen=True, slots=True)
class Owed:
    """A record to be settled, and how often its steps have been asked before (`asks`).

    Where only some of its children are to be tried again, `again` says which.
    """

    run: BlockRun
    position: int
    record: Record
    base: Path | None
    asks: Mapping[str, int] = field(default_factory=dict)
    again: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records of a block that are owed; `last` where the block holds no more."""

    run: BlockRun
    records: list[Owed]
    last: bool = False


@dataclass(slots=True)
class Reader:
    """Goes through the blocks in order, claims what is owed and hands it out, in batches.

    A block that another process has claimed is left to it, and looked at again at the end: that
    process may have died. `wanted` is given for a retry. `progress` counts what was found settled
    in blocks `begun` before; those begun since are counted by who works on them. `open` are the
    blocks under way.
    """

    plan: Plan
    source: Readable
    folder: RunFolder
    writer: Writer
    progress: Progress
    wanted: Wanted | None = None
    torn: list[str] = field(default_factory=list)
    begun: frozenset[int] | None = None
    open: set[BlockRun] = field(default_factory=set)
    stopped: threading.Event = field(default_factory=threading.Event)

    def batches(self, survey: Iterable[Block]) -> Iterator[Batch]:
        """Batches of one block's records, in order."""
        taken: deque[Block] = deque()
        for block in survey:
            self.progress.blocks += 1
            if not (yield from self._take(block)):
                taken.append(block)
        while taken and not self.stopped.wait(LOOK_AGAIN_SECONDS):
            for _ in range(len(taken)):
                block = taken.popleft()
                if not (yield from self._take(block)):
                    taken.append(block)

    def _take(self, block: Block) -> Generator[Batch, None, bool]:
        """What is owed of a block; returns False where another process is at it."""
        if self._finished(block):
            return True
        claim = Lock(self.folder.block(block.number))
        try:
            claim.acquire()
        except LockedError:
            return False
        run: BlockRun | None = None
        try:
            # again: it may have been finished by the one who held it a moment ago
            if not self._finished(block):
                run = self._open(block, claim)
        finally:
            if run is None:
                claim.release()
        if run is not None:
            yield from self._owed_of(run)
        return True

    def _note(self, block: Block) -> PartNote | None:
        """The note of a part that this plan and sink would make."""
        return self.folder.finished(
            block.number, self.plan.fingerprint.hex(), self.plan.sink_fingerprint
        )

    def _finished(self, block: Block) -> bool:
        """Whether a block has its part, and nothing of it is owed."""
        note = self._note(block)
        if note is None or not self._stands(block, note):
            return False
        if self.begun is None or block.number in self.begun:
            self.progress.counts.add(note.counts)
            self.progress.resumed += note.counts.read
        self.progress.blocks_done += 1
        return True

    def _open(self, block: Block, claim: Lock) -> BlockRun:
        journal = Journal(self.folder.block(block.number), self.plan.fingerprint, self.writer)
        self.torn.extend(journal.torn)
        run = BlockRun(block, journal, claim)
        run.entries = {(entry.position, entry.child): entry for entry in journal.entries()}
        self._reject_again(run, self._note(block))
        self.open.add(run)
        return run

    def _stands(self, block: Block, note: PartNote) -> bool:
        """Whether nothing of a finished block is owed: no retry, no image file replaced."""
        if self.wanted is not None and note.counts.failed:
            return False
        if not note.watches:
            return True
        journal = Journal(self.folder.block(block.number), self.plan.fingerprint, None)
        try:
            return all(untouched(entry) for entry in journal.entries())
        finally:
            journal.release()

    def _owed_of(self, run: BlockRun) -> Iterator[Batch]:
        batch: list[Owed] = []
        for position, (record, base) in enumerate(self._records(run.block)):
            owed = self._owed(Owed(run, position, record, base))
            if owed is None:
                self._count(run.entries[position, RECORD])
                continue
            batch.append(owed)
            if len(batch) == BATCH:
                yield Batch(run, batch)
                batch = []
        yield Batch(run, batch, last=True)

    def _records(self, block: Block) -> Iterator[tuple[Record, Path | None]]:
        for span in block.spans:
            for record in self.source.read(span):
                yield record, self.plan.bases[span.source]

    def _reject_again(self, run: BlockRun, note: PartNote | None) -> None:
        """What assembly had to reject is a failure like any other when it is retried."""
        for rejected in note.rejected if note and self.wanted else ():
            at = (rejected.position, rejected.child)
            if at not in run.entries:
                continue
            failure = {"boundary": rejected.boundary, "kind": rejected.kind}
            detail = {**run.entries[at].detail, "failure": failure}
            run.entries[at] = replace(run.entries[at], kind=FAILED, detail=detail)
            if rejected.child != RECORD:
                record = run.entries[rejected.position, RECORD]
                run.entries[rejected.position, RECORD] = replace(record, kind=PARTIAL)

    def _owed(self, fresh: Owed) -> Owed | None:
        """What a record is owed, after what earlier attempts made of it; None if nothing is."""
        entries = fresh.run.entries
        entry = entries.get((fresh.position, RECORD))
        if entry is None or entry.digest != fresh.record.digest or not untouched(entry):
            return fresh
        if not whole(fresh.run, entry):
            return replace(fresh, asks=entry.asks)
        if entry.kind == FAILED and self._wants(entry):
            return replace(fresh, asks=once_more(entry))
        if entry.kind == PARTIAL:
            children = range(entry.detail["children"])
            states = ((child, entries[fresh.position, child]) for child in children)
            again = {n for n, state in states if state.kind == FAILED and self._wants(state)}
            if again:
                return replace(fresh, asks=entry.asks, again=frozenset(again))
        return None

    def _wants(self, entry: Entry) -> bool:
        """Whether a failure is to be tried again."""
        failure = entry.detail["failure"]
        return self.wanted is not None and self.wanted(failure["boundary"], failure["kind"])

    def _count(self, entry: Entry) -> None:
        self.progress.resumed += 1
        self.progress.count(entry.kind)


def whole(run: BlockRun, entry: Entry) -> bool:
    """Whether a record's children are all there, with every answer that it and they accepted."""
    children = range(entry.detail.get("children", 0))
    family = [entry, *(run.entries.get((entry.position, child)) for child in children)]
    return all(each is not None and run.journal.holds(each.trail) for each in family)


def once_more(entry: Entry) -> Mapping[str, int]:
    """How often each step has been asked when a failure is tried again: the step that failed is
    asked anew, the answers before it are kept.
    """
    asks, step = entry.asks, entry.detail["failure"].get("step")
    return {**asks, step: asks.get(step, 0) + 1} if step else asks


def untouched(entry: Entry) -> bool:
    """Whether the image files of a record are those that it was settled with."""
    return all(
        (state := stat(path)) is not None and (state.st_size, state.st_mtime_ns) == (size, mtime_ns)
        for path, size, mtime_ns in entry.detail.get("files", ())
    )


def stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - half the cost of Path.stat, once per image
    except OSError:
        return None
