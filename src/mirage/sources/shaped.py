"""Rows of a training format, as neutral rows: before any format of files, after its rows are read.

A row that breaks a rule of its format is one record's fault, named with the rules; see
`mirage.formats`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mirage.errors import SourceError
from mirage.formats.instruction import Instruction
from mirage.formats.messages import Messages
from mirage.formats.shape import Locate, Reading, Shape
from mirage.record import Span
from mirage.sources.blocks import Bounds
from mirage.sources.files import Format, Piece, Row

NEUTRAL = Messages()
SHOWN = 3


class SampleRow(dict[str, Any]):
    """A neutral row that remembers the sample it was made of."""

    __slots__ = ("sample",)

    def __init__(self, sample: Instruction) -> None:
        super().__init__(NEUTRAL.write(sample))
        self.sample = sample
        for message, turn in zip(reversed(self["messages"]), reversed(sample.turns), strict=False):
            message["text"] = turn.text


@dataclass(slots=True)
class Shaped:
    """A format of files whose rows have a shape."""

    rows: Format
    shape: Shape
    locate: Locate

    def check(self, path: Path) -> None:
        self.rows.check(path)

    def survey(self, path: Path, after: Span | None, bounds: Bounds) -> Iterator[Piece]:
        return self.rows.survey(path, after, bounds)

    def digest(self, path: Path, span: Span) -> str:
        return self.rows.digest(path, span)

    def weight(self, path: Path, span: Span) -> int:
        return self.rows.weight(path, span)

    def read(self, path: Path, span: Span) -> Iterator[Row]:
        for values, digest, fault in self.rows.read(path, span):
            if fault is None:
                reading = Reading(self.locate)
                sample = self.shape.read(values, reading)
                if reading.broken:
                    fault = broken(reading, self.shape.name)
                else:
                    values = SampleRow(sample)
            yield values, digest, fault


def broken(reading: Reading, name: str) -> SourceError:
    shown = "; ".join(str(fault) for fault in reading.broken[:SHOWN])
    more = len(reading.broken) - SHOWN
    return SourceError("format", f"no {name} row: {shown}" + (f"; {more} more" if more > 0 else ""))
