"""From one format to another: every row of the source becomes a row of the target, or is named.

A conversion is a run without steps: the same sources and sinks, block by block, published whole.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from mirage import atomic
from mirage.config.data import SinkConfig, SourceConfig
from mirage.dataset.opening import opened, training_format
from mirage.dataset.refusals import Refusals, beside
from mirage.formats import SHAPES
from mirage.places import Place, RemotePath, place
from mirage.places.opening import without_secrets
from mirage.places.sending import send_one
from mirage.record import Sink
from mirage.sinks import container_of, open_sink
from mirage.sources import Readable, blocks
from mirage.sources.blocks import Block

Progress = Callable[[int], None]
"""Called after every block with the number of rows that were read so far."""


class Conversion(Struct):
    """What became of the rows: read = written + refused. `lost` counts, by name, what the target
    has no place for in rows that were written.
    """

    source: str
    target: str
    read: int = 0
    written: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    failures: Place | None = None
    """Where the refused rows are listed, one JSON object a line; None where there are none."""

    @property
    def refused(self) -> int:
        return self.causes.total()

    def count(self, part: Part) -> None:
        self.read += part.read
        self.written += part.written
        self.causes.update(part.causes)
        self.lost.update(part.lost)


def convert(
    source: SourceConfig,
    sink: SinkConfig,
    *,
    base: Path,
    strict: bool = False,
    progress: Progress = lambda rows: None,
) -> Conversion:
    """Write a dataset in another format; relative paths are taken from `base`.

    A row that the target cannot hold is refused and listed in `<target>.failed.jsonl`, with its
    place and the rule; with `strict`, so is a row that would lose anything. Raises ValueError where
    a format cannot be told, RunError where something else stands in the target's place.
    """
    target, beside = target_of(sink, base)
    with atomic.workspace(beside) as room:
        name = training_format(source, base, room)
        if name is None and sink.format in SHAPES:  # its kind of file says nothing of its rows
            name = training_format(source.model_copy(update={"format": None}), base, room)
        if name is None and sink.format in SHAPES:
            path = without_secrets(source.path)
            raise ValueError(
                f"the rows of {path} are of no training format that is known: "
                "name it with --from, or make samples of them in a run"
            )
        into = open_sink(
            sink,
            base=base,
            declared={},
            samples=name is not None,
            strict=strict,
            stage=room / "upload",
        )
        into.check()
        rows = opened(source.model_copy(update={"format": name or source.format}), base, room)
        told = Conversion(name or "rows", sink.format or container_of(sink))
        return write(rows, into, target, room, told, progress=progress)


def target_of(sink: SinkConfig, base: Path) -> tuple[Place, Path]:
    """Where the dataset will be, and the folder in which it is made."""
    target = place(base, sink.path)
    if isinstance(target, RemotePath):
        return target, base
    return target.resolve(), target.resolve().parent


def write(
    rows: Readable,
    into: Sink,
    target: Place,
    room: Path,
    told: Conversion,
    *,
    progress: Progress = lambda rows: None,
) -> Conversion:
    """Write rows through a sink, publish them at `target`, and count in `told` what became of
    them; parts stand in `room` for as long. Where every row is refused, what stands at `target`
    is left as it is.
    """
    parts: list[Part] = []
    for block in blocks(rows):
        parts.append(Part(block, room / f"{block.number:06}" / f"part{into.suffix}"))
        parts[-1].write(rows, into)
        progress(sum(part.read for part in parts))
    columns = into.columns([part.place for part in parts])
    for part in parts:
        if not into.fits(part.place, columns):
            part.write(rows, into, columns)
    for part in parts:
        told.count(part)
    if told.written or not told.read:
        into.publish([part.place for part in parts], columns)
    told.failures = listed(parts, target.with_name(beside(target)))
    return told


class Part(Struct):
    """One block of the source, its part of the dataset, and what became of its rows."""

    block: Block
    place: Path
    written: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    lost: Mapping[str, int] = {}

    @property
    def read(self) -> int:
        return self.written + self.causes.total()

    @property
    def refused(self) -> Path:
        """The list of the rows that are not in the part."""
        return self.place.with_name("failed.jsonl")

    def write(self, source: Readable, sink: Sink, columns: Any = None) -> None:
        """Write the part and the list; with `columns`, in those types."""
        self.causes.clear()
        places: list[str] = []
        with atomic.writing(self.refused) as failures:
            refusals = Refusals(failures, self.causes)

            def rows() -> Iterator[Mapping[str, Any]]:
                for span in self.block.spans:
                    for record in source.read(span):
                        if record.fault is not None:
                            refusals.add(record.place, record.fault)
                            continue
                        places.append(record.place)
                        yield record.values

            report = sink.write(self.place, rows(), columns)
            for index, error in report.rejected:
                refusals.add(places[index], error)
        self.written, self.lost = report.rows, report.lost


def listed(parts: Sequence[Part], target: Place) -> Place | None:
    """Put the lists of refused rows together; where there is none, take away an earlier one."""
    lists = [part.refused for part in parts if part.causes]
    if not lists:
        target.unlink(missing_ok=True)
        return None
    if isinstance(target, RemotePath):
        here = listed(parts, lists[0].with_name("listed.jsonl"))
        if isinstance(here, Path):
            send_one(here, target)
        return target
    with atomic.replacing(target) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            for each in lists:
                atomic.append(each, handle)
        finally:
            os.close(handle)
    return target
