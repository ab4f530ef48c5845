"""Rows into a training format, before any sink that keeps rows: samples in, the format's rows out.

A row that the format cannot hold is refused with its reason; what it has no place for in rows that
it does hold is counted. Images that are files stay where they are, unless they shall be copied.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mirage.errors import SinkError
from mirage.formats import recognise, shape
from mirage.formats.instruction import Instruction, Shown
from mirage.formats.shape import Reading, Shape, among, fit
from mirage.record import Image, PartReport
from mirage.sinks.images import unnamed
from mirage.sinks.over import Over


class ShapedSink(Over):
    """A sink of rows in the shape of a format. `home` is the folder that image paths are relative
    to; None where the rows hold the bytes of images.
    """

    shape: Shape
    home: Path | None
    copies: bool = False
    strict: bool = False

    def write(
        self, part: Path, rows: Iterable[Mapping[str, Any]], columns: Any | None = None
    ) -> PartReport:
        """Write a part. Rejected: rows that are of no training format, break its rules, or hold
        more than this format can; and whatever the sink of rows rejects.
        """
        taken: list[int] = []
        refused: list[tuple[int, SinkError]] = []
        lost: Counter[str] = Counter()

        def native() -> Iterator[Mapping[str, Any]]:
            for number, row in enumerate(rows):
                try:
                    made, missing = self.native(row)
                except SinkError as error:
                    refused.append((number, error))
                    continue
                lost.update(missing)
                taken.append(number)
                yield made

        report = self.rows.write(part, native(), columns)
        refused += [(taken[index], error) for index, error in report.rejected]
        refused.sort(key=lambda each: each[0])
        return PartReport(report.rows, tuple(refused), lost)

    def native(self, row: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """The format's row of a sample, and the names of what it loses."""
        sample, lost = fitted(row, self.shape, strict=self.strict)
        if self.home is not None and sample.images:
            placed = (Shown(id, self.placed(image, self.home)) for id, image in sample.images)
            sample = replace(sample, images=tuple(placed))
        return self.shape.write(sample), lost

    def placed(self, image: Image, home: Path) -> Image:
        """The image with the name that its row will give it; without one, it becomes a file."""
        if image.path is None or image.member is not None or self.copies:
            return unnamed(image)
        path = os.path.abspath(image.path)  # noqa: PTH100 - pathlib has no such thing
        if not self.shape.absolute and path.startswith(f"{home}/"):
            path = path[len(str(home)) + 1 :]
        return Image(path, path=image.path)


def fitted(
    row: Mapping[str, Any], shape: Shape, *, strict: bool
) -> tuple[Instruction, tuple[str, ...]]:
    """The sample of a row as a format can hold it, and what it loses: with `strict`, nothing."""
    sample, lost = fit(sample_of(row), shape)
    if lost and strict:
        raise SinkError("loss", f"{shape.name} has no place for {', '.join(lost)}")
    return sample, lost


def sample_of(row: Mapping[str, Any]) -> Instruction:
    """The sample in a row of any training format. Raises SinkError("format")."""
    sample = getattr(row, "sample", None)
    if isinstance(sample, Instruction):
        return sample
    name = recognise([row])
    if name is None:
        known = "`messages`, or the columns of any other training format"
        raise SinkError("format", f"no sample has the columns {', '.join(row)}: it wants {known}")
    reading = Reading(among(None, given=False))
    sample = shape(name).read(row, reading)
    if reading.broken:
        raise SinkError("format", "; ".join(str(fault) for fault in reading.broken[:3]))
    return sample
