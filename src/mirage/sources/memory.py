"""Rows that a program already holds: a list of mappings, or a `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from xxhash import xxh3_128

from mirage.errors import SourceError
from mirage.record import FileState, Record, Span
from mirage.sources import arrow
from mirage.sources.blocks import BOUNDS, Bounds
from mirage.sources.digests import range_digest, row_digest

FILE = "rows"
SLICE = 1_000


class Rows:
    """Rows of a sequence by their index; values are handed on as they are, PIL images included.

    An iterable that is no sequence is read into a list first: rows must be readable twice.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], number: int) -> None:
        self.rows: Sequence[Any] = rows if isinstance(rows, Sequence) else list(rows)
        self.number = number

    def __len__(self) -> int:
        return len(self.rows)

    def files(self) -> Iterable[FileState]:
        return ()

    def rest(self, stored: Sequence[Span], bounds: Bounds = BOUNDS) -> Iterator[Span]:
        for start in range(stored[-1].stop if stored else 0, len(self), bounds.rows):
            stop = min(start + bounds.rows, len(self))
            digest = self._digest(start, stop)
            yield Span(FILE, start, stop, start, stop - start, digest, self.number)

    def read(self, span: Span) -> Iterator[Record]:
        for index, values in enumerate(self._values(span.start, span.stop), span.start):
            place = f"{self.number}/{FILE}#{index}"
            if isinstance(values, Mapping):
                yield Record(place, row_digest(values), values)
            else:
                message = f"row {index} is no mapping but {type(values).__name__}"
                yield Record(place, row_digest({}), {}, SourceError("malformed", message))

    def read_again(self, span: Span, names: frozenset[str] | None) -> Iterator[Record]:
        return self.read(span)

    def intact(self, span: Span) -> bool:
        return span.stop <= len(self) and self._digest(span.start, span.stop) == span.digest

    def weight(self, span: Span) -> int:
        return 0

    def peek(self, count: int) -> Iterator[Record]:
        stop = min(count, len(self))
        return self.read(Span(FILE, 0, stop, 0, stop, "", self.number))

    def _values(self, start: int, stop: int) -> Iterator[Any]:
        return islice(self.rows, start, stop)

    def _digest(self, start: int, stop: int) -> str:
        hashed = xxh3_128()
        for record in self.read(Span(FILE, start, stop, start, stop - start, "", self.number)):
            hashed.update(record.digest)
        return hashed.hexdigest()


class DatasetRows(Rows):
    """A `datasets.Dataset`, read as Arrow: its images stay the bytes that are stored.

    Its fingerprint, which `datasets` derives from the data and what was done to it, is what the
    digests of spans are made of.
    """

    def __init__(self, dataset: Any, number: int) -> None:
        self.dataset = dataset.with_format("arrow")
        self.number = number

    def __len__(self) -> int:
        return len(self.dataset)

    def weight(self, span: Span) -> int:
        size: int = self.dataset.data.nbytes * span.rows // max(1, self.dataset.data.num_rows)
        return size

    def _values(self, start: int, stop: int) -> Iterator[Any]:
        for at in range(start, stop, SLICE):
            yield from arrow.rows(self.dataset[at : min(at + SLICE, stop)])

    def _digest(self, start: int, stop: int) -> str:
        return range_digest(self.dataset._fingerprint, start, stop)
