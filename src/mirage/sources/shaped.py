"""Rows of a training format, as neutral rows: before any format of files, after its rows are read.

A row that breaks a rule of its format is one record's fault, named with the rules; see
`mirage.formats`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mirage.errors import SourceError
from mirage.formats.dataset_info import described
from mirage.formats.instruction import Instruction
from mirage.formats.messages import Messages
from mirage.formats.shape import Locate, Reading, Shape
from mirage.places import Place
from mirage.record import Span
from mirage.sources.files import Row
from mirage.sources.over import Over

NEUTRAL = Messages()
SHOWN = 3


class SampleRow(Mapping[str, Any]):
    """The neutral row of a sample, made when it is first looked into."""

    __slots__ = ("_row", "sample")

    def __init__(self, sample: Instruction) -> None:
        self.sample = sample
        self._row: dict[str, Any] | None = None

    def row(self) -> dict[str, Any]:
        if self._row is None:
            self._row = NEUTRAL.write(self.sample)
            said = self._row["messages"][-len(self.sample.turns) :]
            for message, turn in zip(said, self.sample.turns, strict=True):
                message["text"] = turn.text
        return self._row

    def __getitem__(self, key: str) -> Any:
        return self.row()[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.row().get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.row())

    def __len__(self) -> int:
        return len(self.row())


class Shaped(Over):
    """A format of files whose rows have a shape."""

    shape: Shape
    locate: Locate

    def check(self, path: Place) -> None:
        self.rows.check(path)
        described(self.shape, path)

    def read(self, path: Place, span: Span) -> Iterator[Row]:
        shape = described(self.shape, path)
        for values, digest, fault in self.rows.read(path, span):
            if fault is None:
                reading = Reading(self.locate)
                sample = shape.read(identified(values), reading)
                if reading.broken:
                    fault = broken(reading, shape.name)
                else:
                    values = SampleRow(sample)
            yield values, digest, fault


def identified(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row whose container knew it by a key: that is its id, where it has none of its own, and
    otherwise a further column, unless the two are the same.
    """
    key, own = values.get("__key__"), values.get("id")
    if key is None or (own is not None and str(own) != key):
        return values
    row = {name: value for name, value in values.items() if name != "__key__"}
    return {**row, "id": key} if own is None else row


def broken(reading: Reading, name: str) -> SourceError:
    shown = "; ".join(str(fault) for fault in reading.broken[:SHOWN])
    more = len(reading.broken) - SHOWN
    return SourceError("format", f"no {name} row: {shown}" + (f"; {more} more" if more > 0 else ""))
