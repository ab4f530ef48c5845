"""From the parts of all blocks to the dataset: complete, or not at all.

Nothing is taken on trust: every block must have the part that this plan and sink make of its last
attempt, whole, and the part must account for as many records as the block has rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from msgspec import Struct

from mirage.errors import RunError, StoppedError
from mirage.places import Place
from mirage.report import Counts, Usage
from mirage.sources.blocks import Block
from mirage.work.assemble import Workplace, assemble
from mirage.work.folder import PartNote

SHOWN = 10
Judge = Callable[[Counts], str]
"""Why a dataset with these counts is not to be published; empty where it is."""


class Standing(Struct, frozen=True):
    """What there is of a dataset: blocks with their parts' notes, and blocks that are `owed`."""

    parts: list[tuple[Block, PartNote]]
    owed: list[Block]


def standing(work: Workplace, blocks: Iterable[Block]) -> Standing:
    found = Standing([], [])
    for block in blocks:
        note = part_of(work, block)
        if note is None or note.counts.read != block.rows:
            found.owed.append(block)
        else:
            found.parts.append((block, note))
    return found


def part_of(work: Workplace, block: Block) -> PartNote | None:
    plan = work.plan
    return work.folder.finished(block.number, plan.fingerprint.hex(), plan.sink_fingerprint)


def publish(work: Workplace, target: Place, found: Standing, judge: Judge) -> None:
    """Make the dataset out of the parts that there are, unless it stands there already; a part that
    does not fit the others is made again. Where everything failed, what stands there stays.

    Raises StoppedError where `judge` has a reason.
    """
    parts = [work.folder.block(block.number) / note.part for block, note in found.parts]
    stamp = partial(work.folder.stamp, work.plan.sink_fingerprint, parts, target)
    if (made := stamp()) and made == work.folder.published():
        return
    columns = work.sink.columns(parts)
    notes = []
    for (block, note), part in zip(found.parts, parts, strict=True):
        fits = work.sink.fits(part, columns)
        notes.append(note if fits else assemble(block, work, columns))
    counts, _ = totals(notes)
    if reason := judge(counts):
        raise StoppedError(reason)
    if not counts.fruitless:
        work.sink.publish(parts, columns)
        work.folder.set_published(stamp())


def totals(notes: Iterable[PartNote]) -> tuple[Counts, Usage]:
    """The counts and the cost of all parts. Raises RunError where something is unaccounted for."""
    counts, usage = Counts(), Usage()
    for note in notes:
        counts.add(note.counts)
        usage.add(note.usage)
    if not counts.balanced:
        raise RunError(f"the counts do not add up: {counts}")
    return counts, usage


def told(blocks: Sequence[Block]) -> str:
    """Blocks that are owed, by their rows."""
    spans = [span for block in blocks for span in block.spans]
    shown = [f"{s.file} rows {s.row + 1:,} to {s.row + s.rows:,}" for s in spans[:SHOWN]]
    more = f", and {len(spans) - SHOWN} further pieces" if len(spans) > SHOWN else ""
    rows = sum(block.rows for block in blocks)
    noun = "block" if len(blocks) == 1 else "blocks"
    return f"{rows:,} rows in {len(blocks):,} {noun} are owed: {', '.join(shown)}{more}"
