"""One dataset out of what several processes have made: provably complete, or not at all.

A run publishes by itself when it ends. This is for runs whose processes have all gone: the blocks
are held against the source, and whatever is missing is named.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from mirage.errors import RunError
from mirage.job import Job
from mirage.manifest import write_manifest
from mirage.places import Place
from mirage.record import Span
from mirage.report import Counts, Usage
from mirage.sources.blocks import Block
from mirage.work.lock import Lock
from mirage.work.publish import publish, standing, told, totals


class Merged(Struct, frozen=True):
    """What was merged, and the rows of the source that were left out."""

    target: Place
    counts: Counts
    usage: Usage
    left_out: list[dict[str, object]]


def merge(job: Job, *, partial: bool = False) -> Merged:
    """Publish the dataset of a run from the parts of its blocks.

    Raises RunError, naming the rows, where a block has no whole part of its last attempt, where a
    part does not account for all rows of its block, or where the source is not wholly in blocks;
    with `partial` these are left out, which the manifest says. SourceChangedError where the source
    is not what the blocks were made of; LockedError while a process owns the run.
    """
    work, folder = job.work, job.folder
    with Lock(folder.root) as lock:
        folder.refuse_company()
        folder.check_source(work.source)
        blocks = folder.blocks()
        if not blocks:
            raise RunError(f"{folder.root} has no blocks: nothing has run there")
        found = standing(work, blocks)
        problems = [told(found.owed)] if found.owed else []
        whole = folder.surveyed and not any(work.source.rest(spans(blocks)))
        if not whole:
            end = blocks[-1].spans[-1]
            problems.append(f"the source is not read beyond {end.file} row {end.row + end.rows:,}")
        if problems and not partial:
            raise RunError(f"the dataset is not complete: {'; '.join(problems)}")
        if not found.parts:
            raise RunError(f"no block of {folder.root} is finished")
        lock.check()
        publish(work, job.target, found, lambda counts: "")
        counts, usage = totals(note for _, note in found.parts)
        merged = Merged(job.target, counts, usage, left_out(blocks, found.owed, whole))
        write_manifest(job, counts, usage, left_out=merged.left_out)
        return merged


def left_out(
    blocks: Sequence[Block], owed: Sequence[Block], whole: bool
) -> list[dict[str, object]]:
    """The rows of the source that have no part: counted from 1, both ends included; the last is
    None for all that was never read.
    """
    rows: list[dict[str, object]]
    rows = [{"file": s.file, "first": s.row + 1, "last": s.row + s.rows} for s in spans(owed)]
    if not whole:
        end = blocks[-1].spans[-1]
        rows.append({"file": end.file, "first": end.row + end.rows + 1, "last": None})
    return rows


def spans(blocks: Sequence[Block]) -> list[Span]:
    return [span for block in blocks for span in block.spans]
