"""What is owed: of each block the records that have no outcome yet.

This is the reading side of the pipeline. It runs in threads, ahead of the records under way.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from mirage.errors import LockedError
from mirage.journal import FAILED, PARTIAL, RECORD, Entry, Journal, Writer
from mirage.places import Place
from mirage.plan import Plan
from mirage.record import Record
from mirage.report import Progress
from mirage.sources.blocks import Block, Readable
from mirage.work.folder import PartNote, RunFolder
from mirage.work.lock import Lock
from mirage.work.rank import ALONE, Rank
from mirage.work.survey import LOOK_AGAIN_SECONDS

BATCH = 64
BLOCKS_LOOKED_AT = 2_000
"""By all ranks but the owner together, in a second, where they look for work that others left."""

Wanted = Callable[[str, str], bool]
"""Whether a failure, given its boundary and kind, is to be tried again."""


class BlockRun(Struct, eq=False):
    """A block under way: `owed` records are handed out and not settled; is all of it `read`?

    Both are the event loop's to change. What its journal holds is `counted` where a rank that died
    has told of it. `pending` are the requests under way, each with a future where others wait.
    """

    block: Block
    journal: Journal
    claim: Lock
    counted: bool = False
    owed: int = 0
    read: bool = False
    pending: dict[bytes, asyncio.Future[None] | None] = {}
    entries: dict[tuple[int, int], Entry] = {}


class Owed(Struct, frozen=True):
    """A record to be settled, and how often its steps have been asked before (`asks`).

    Where only some of its children are to be tried again, `again` says which.
    """

    run: BlockRun
    position: int
    record: Record
    base: Place | None
    asks: Mapping[str, int] = {}
    again: frozenset[int] | None = None


class Batch(Struct, frozen=True):
    """Some records of a block that are owed; `last` where the block holds no more."""

    run: BlockRun
    records: list[Owed]
    last: bool = False


class Reader(Struct):
    """Goes through the blocks in order, claims what is owed and hands it out, in batches.

    Of several ranks, each begins with the blocks of its share. Those of the others, and a block
    that another process has claimed, are looked at again at the end: that process may have died.
    `wanted` is given for a retry. `progress` counts what was found settled;
    of what several ranks have settled since `opened` (a time of the file system, in ns), each
    counts its own. `open` are the blocks under way.
    """

    plan: Plan
    source: Readable
    folder: RunFolder
    writer: Writer
    progress: Progress
    wanted: Wanted | None = None
    torn: list[str] = []
    opened: int | None = None
    rank: Rank = ALONE
    open: set[BlockRun] = set()
    stopped: threading.Event = field(default_factory=threading.Event)

    def batches(self, survey: Iterable[Block]) -> Iterator[Batch]:
        """Batches of one block's records, in order."""
        taken: deque[Block] = deque()
        for block in survey:
            self.progress.blocks += 1
            mine = self.rank.begins_with(block.number)
            if not mine or not (yield from self._take(block)):
                taken.append(block)
        taken = deque(sorted(taken, key=lambda block: self.rank.before(block.number)))
        while taken and not self.stopped.is_set():
            for looks in range(1, len(taken) + 1):
                block = taken.popleft()
                if not (yield from self._take(block)):
                    taken.append(block)
                if not self.rank.owns and looks % max(BLOCKS_LOOKED_AT // self.rank.count, 1) == 0:
                    self.stopped.wait(1)
            if taken:
                self.stopped.wait(LOOK_AGAIN_SECONDS * self.rank.pace)

    def _take(self, block: Block) -> Generator[Batch, None, bool]:
        """What is owed of a block; returns False where another process is at it."""
        if self._finished(block):
            return True
        if not self.rank.works:
            return False
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
        if self.rank.owns and not self._settled_since(block, "part.json"):
            self.progress.counts.add(note.counts)
            self.progress.resumed += note.counts.read
        self.progress.blocks_done += 1
        return True

    def _settled_since(self, block: Block, names: str) -> bool:
        """Whether another rank has counted what a block's files say."""
        return self.opened is not None and self.folder.since(block.number, names, self.opened)

    def _open(self, block: Block, claim: Lock) -> BlockRun:
        journal = Journal(self.folder.block(block.number), self.plan.fingerprint, self.writer)
        self.torn.extend(journal.torn)
        counted = self._settled_since(block, "attempt-*.sqlite")
        run = BlockRun(block, journal, claim, counted=counted)
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
                if not run.counted:
                    self._count(run.entries[position, RECORD])
                continue
            batch.append(owed)
            if len(batch) == BATCH:
                yield Batch(run, batch)
                batch = []
        yield Batch(run, batch, last=True)

    def _records(self, block: Block) -> Iterator[tuple[Record, Place | None]]:
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
        self.progress.counts.count(entry.kind)


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
