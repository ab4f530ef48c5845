"""From a block of the source and its journals to a part of the dataset. No model is called.

The block is read again in order, and every record must have its entry in the journal, with the
digest of the row as it stands now. Of a table that nobody has touched since it was read, only the
columns that the output needs are read, and rows have no digests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import orjson
from msgspec import Struct, field
from msgspec.structs import asdict

from mirage.atomic import writing
from mirage.errors import RecordError, RunError, SourceChangedError
from mirage.journal import DROPPED, FAILED, KEY_BYTES, PYTHON, RECORD, WRITTEN, Entry, Journal
from mirage.places import Place
from mirage.plan import Plan
from mirage.plan.inputs import bind
from mirage.record import Failed, Record, Sink
from mirage.report import Counts, Tally, Usage
from mirage.sources.blocks import Block, Readable
from mirage.steps.step import Step
from mirage.work.folder import PartNote, Rejected, RunFolder


class Owner(Struct, frozen=True):
    """Whose row it is: the record's position and place, the child, and what the record became."""

    position: int
    child: int
    place: str
    fate: str


class Assembly(Struct):
    """One block on its way to a part; `failures` receives every failed record as a JSON line."""

    plan: Plan
    source: Readable
    block: Block
    journal: Journal
    failures: BinaryIO
    counts: Counts = field(default_factory=Counts)
    owners: list[Owner] = []
    rejected: list[Rejected] = []
    spoiled: set[int] = set()
    watches: bool = False

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """The block's rows in order; what does not become one is counted."""
        entries = {(entry.position, entry.child): entry for entry in self.journal.entries()}
        position = 0
        for span in self.block.spans:
            for record in self.source.read_again(span, self.plan.recalled_fields):
                entry = entries.get((position, RECORD))
                if entry is None:
                    raise RunError(f"{record.place} has no outcome")
                if record.digest and entry.digest != record.digest:
                    raise SourceChangedError(f"{record.place} changed while the run was going on")
                yield from self.rows_of(record, self.plan.bases[span.source], entry, entries)
                position += 1

    def rows_of(
        self,
        record: Record,
        base: Place | None,
        entry: Entry,
        entries: Mapping[tuple[int, int], Entry],
    ) -> Iterator[Mapping[str, Any]]:
        counts = self.counts
        self.watches = self.watches or "files" in entry.detail
        counts.count(entry.kind)
        if entry.kind in (DROPPED, FAILED):
            many = self.plan.many is not None
            counts.rows_made += not many
            counts.rows_dropped += not many and entry.kind == DROPPED
            counts.rows_failed += not many and entry.kind == FAILED
            self._explain(record.place, entry)
        values: dict[str, Any] | None = None
        for child in self._children(entry):
            own = entries[entry.position, child]
            counts.rows_made += 1
            if own.kind != WRITTEN:
                counts.rows_dropped += own.kind == DROPPED
                counts.rows_failed += own.kind == FAILED
                self._explain(record.place, own)
                continue
            owner = Owner(entry.position, child, record.place, entry.kind)
            try:
                if values is None:
                    values = self._recall(
                        self.plan.graph.trunk, entry, bind(self.plan.recalled, record, base)
                    )
                row = self._row(values, own)
            except RecordError as error:
                self._reject(owner, error)
                continue
            self.owners.append(owner)
            counts.rows_written += 1
            yield row

    def _children(self, entry: Entry) -> Iterable[int]:
        """Whose rows an entry stands for: its children's, or where there is no `many` its own."""
        if self.plan.many is not None:
            return range(entry.detail.get("children", 0))
        return (RECORD,) if entry.kind == WRITTEN else ()

    def _row(self, values: dict[str, Any], entry: Entry) -> Mapping[str, Any]:
        if self.plan.many is not None:
            item = values[self.plan.many][entry.child]
            values = self._recall(self.plan.graph.branch, entry, {**values, self.plan.many: item})
        row: Mapping[str, Any] = self.plan.tree.value(values)
        return row

    def _recall(
        self, steps: Iterable[Step], entry: Entry, values: dict[str, Any]
    ) -> dict[str, Any]:
        """The values, with those of the steps, out of the journal."""
        at = 0
        for step in steps:
            completion = None
            if step.journalled:
                completion = self.journal.completion(entry.trail[at : at + KEY_BYTES])
                at += KEY_BYTES
            values[step.name] = step.recall(completion, values)
        return values

    def _explain(self, place: str, entry: Entry) -> None:
        """Count why an entry is not written, and list it if it failed."""
        if entry.kind == DROPPED:
            self._tally(self.counts.drops, entry.detail["reason"], entry.child)
            return
        self._list(Failed(**{**entry.detail["failure"], "place": place}), entry.child)

    def _list(self, failed: Failed, child: int) -> None:
        self._tally(self.counts.failures, f"{failed.boundary}/{failed.kind}", child)
        shown = asdict(failed) | ({} if child == RECORD else {"child": child})
        self.failures.write(orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE))

    def _tally(self, tally: Tally, name: str, child: int) -> None:
        tally[name] += 1
        if child != RECORD:
            self.counts.by_row[name] += 1

    def _reject(self, owner: Owner, error: RecordError) -> None:
        """A row that could not be made, or does not fit the output: its record fails after all."""
        self.counts.rows_failed += 1
        if owner.fate == WRITTEN and owner.position not in self.spoiled:
            self.spoiled.add(owner.position)
            self.counts.written -= 1
            self.counts.failed += 1
        rejected = Rejected(owner.position, owner.child, error.boundary, error.kind)
        self.rejected.append(rejected)
        self._list(Failed(owner.place, error.boundary, error.kind, error.message), owner.child)

    def reject_row(self, index: int, error: RecordError) -> None:
        """The sink refused the row with this index."""
        self.counts.rows_written -= 1
        self._reject(self.owners[index], error)


class Workplace(Struct, frozen=True):
    """What a run works with: its plan, where rows come from and go to, and its folder."""

    plan: Plan
    source: Readable
    sink: Sink
    folder: RunFolder

    @property
    def makes(self) -> str:
        """What tells the parts that a process would make from those of others."""
        plan = self.plan
        return f"{plan.fingerprint.hex()} {plan.sink_fingerprint} {plan.source_fingerprint}"


def assemble(block: Block, work: Workplace, columns: Any = None) -> PartNote:
    """Write a block's part, the list of its failures and its note.

    Raises RunError where a record has no outcome, SourceChangedError where a row has changed.
    """
    plan, folder, sink = work.plan, work.folder, work.sink
    folder.drop_note(block.number)
    journal = Journal(folder.block(block.number), plan.fingerprint, None)
    part = folder.part(block.number, journal.attempts, sink.suffix)
    try:
        with writing(folder.block(block.number) / "failed.jsonl") as failures:
            assembly = Assembly(plan, work.source, block, journal, failures)
            report = sink.write(part, assembly.rows(), columns)
            for index, error in report.rejected:
                assembly.reject_row(index, error)
        note = PartNote(
            fingerprint=plan.fingerprint.hex(),
            sink=plan.sink_fingerprint,
            part=part.name,
            attempts=journal.attempts,
            counts=assembly.counts,
            usage=usage(journal),
            rejected=assembly.rejected,
            watches=assembly.watches,
            spoiled=len(assembly.spoiled),
            size=part.stat().st_size,
        )
        folder.set_note(block.number, note)
        return note
    finally:
        journal.release()


def usage(journal: Journal) -> Usage:
    """What a block has cost so far, all attempts together."""
    total = Usage()
    for finish, *costs in journal.costs():
        if finish != PYTHON:
            total.pay(*costs)
    return total
