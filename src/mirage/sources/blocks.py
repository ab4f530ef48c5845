"""Blocks: the pieces that a run is cut into, and several sources read as one.

A source cuts itself into spans, each within one file; consecutive spans are grouped here, so that
many small files share a block while a large one is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Protocol

from msgspec import Struct

from mirage.record import FileState, Record, Source, Span

BLOCK_ROWS = 10_000
BLOCK_BYTES = 256 * 1024 * 1024


class Bounds(Struct, frozen=True):
    """The most that a block or a span holds. A single row larger than `size` is still one piece."""

    rows: int = BLOCK_ROWS
    size: int = BLOCK_BYTES


BOUNDS = Bounds()


class Block(Struct, frozen=True):
    """Consecutive spans of the source, processed, journalled and written together."""

    number: int
    spans: tuple[Span, ...]

    @property
    def rows(self) -> int:
        return sum(span.rows for span in self.spans)


class Readable(Source, Protocol):
    """A source as this folder makes them: it cuts itself, and knows how large its spans are."""

    def rest(self, stored: Sequence[Span], bounds: Bounds = BOUNDS) -> Iterator[Span]:
        """What the stored spans do not hold: rows appended to any file, and further files.

        Raises SourceChangedError where a stored span cannot be gone on from.
        """
        ...

    def weight(self, span: Span) -> int:
        """The size of a span in bytes, at least roughly; for a table, as it is uncompressed."""
        ...

    def read_again(self, span: Span, names: frozenset[str] | None) -> Iterator[Record]:
        """As `read`, for what this process has read before: where it can tell by less that nothing
        has changed since, records may hold only the fields in `names` (None: all), and no digest.
        """
        ...

    def peek(self, count: int) -> Iterator[Record]:
        """The first records, without a survey of everything. Repeated ids are not noticed."""
        ...


class Sources:
    """Several sources, one after the other; `Span.source` is the index in the list.

    `files()` gives names relative to each source's own root, as they stand in its spans.
    """

    def __init__(self, sources: Sequence[Readable]) -> None:
        self.sources = list(sources)

    def files(self) -> Iterable[FileState]:
        return chain.from_iterable(source.files() for source in self.sources)

    def rest(self, stored: Sequence[Span], bounds: Bounds = BOUNDS) -> Iterator[Span]:
        for number, source in enumerate(self.sources):
            yield from source.rest([span for span in stored if span.source == number], bounds)

    def read(self, span: Span) -> Iterator[Record]:
        return self.sources[span.source].read(span)

    def read_again(self, span: Span, names: frozenset[str] | None) -> Iterator[Record]:
        return self.sources[span.source].read_again(span, names)

    def intact(self, span: Span) -> bool:
        return span.source < len(self.sources) and self.sources[span.source].intact(span)

    def weight(self, span: Span) -> int:
        return self.sources[span.source].weight(span)

    def peek(self, count: int) -> Iterator[Record]:
        return islice(chain.from_iterable(s.peek(count) for s in self.sources), count)


def blocks(
    source: Readable, stored: Sequence[Block] = (), bounds: Bounds = BOUNDS
) -> Iterator[Block]:
    """Blocks of what the stored ones do not hold yet, in order, cut while the source is surveyed.

    Numbers go on from the last stored block; no stored block is ever filled up.
    """
    number = stored[-1].number + 1 if stored else 0
    held: list[Span] = []
    rows = size = 0
    for span in source.rest([span for block in stored for span in block.spans], bounds):
        weight = source.weight(span)
        if held and (rows + span.rows > bounds.rows or size + weight > bounds.size):
            yield Block(number, tuple(held))
            number, held, rows, size = number + 1, [], 0, 0
        held.append(span)
        rows, size = rows + span.rows, size + weight
    if held:
        yield Block(number, tuple(held))


def peek(source: Readable, count: int) -> list[Record]:
    """The first `count` records, read without a survey of the whole source."""
    return list(islice(source.peek(count), count))
