"""A source made of files: what all formats share, and the protocol that a format fulfils.

A format knows how one file is cut into pieces and how a piece becomes rows. Everything else stands
here: places, identities, the limit, and going on after what is already stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from mirage.errors import RecordError, RunError, SourceChangedError, SourceError
from mirage.places import Place, relative
from mirage.record import FileState, Record, Span
from mirage.sources.blocks import BOUNDS, Bounds
from mirage.sources.identity import Identities, hash64

Row = tuple[Mapping[str, Any], bytes, SourceError | None]


class Piece(Struct, frozen=True):
    """A span as a format sees it: without the names of file and source."""

    start: int
    stop: int
    row: int
    rows: int
    digest: str


class Format(Protocol):
    """How one file is cut into pieces and read."""

    def check(self, path: Place) -> None:
        """Raise ValueError where the file as a whole cannot be of this format."""
        ...

    def survey(self, path: Place, after: Span | None, bounds: Bounds) -> Iterator[Piece]:
        """The pieces of a file after the given one, in order; none of them is empty."""
        ...

    def read(self, path: Place, span: Span) -> Iterator[Row]:
        """The rows of a piece, in order: values, 16-byte digest, fault."""
        ...

    def digest(self, path: Place, span: Span) -> str:
        """The digest of a piece as it is now; another one where it has changed."""
        ...

    def weight(self, path: Place, span: Span) -> int:
        """The size of a piece in bytes."""
        ...


@runtime_checkable
class Columnar(Format, Protocol):
    """A format whose files can be read in part."""

    def read_columns(self, path: Place, span: Span, names: frozenset[str]) -> Iterator[Row]:
        """The rows of a piece with these columns at least, and no digest, where the file is as it
        was when the piece was read in whole; otherwise all of each row, as `read` gives it.
        """
        ...


Growing = Callable[[Sequence[Place]], Iterable[Place]]


class FileSource(Struct):
    """Rows out of files below `root`, in the order of `paths`.

    `growing`, where given, makes further files while they are asked for (a spool); it is told which
    there are. `limit` counts the rows of the whole source.
    """

    number: int
    root: Place
    paths: list[Place]
    format: Format
    identities: Identities | None = None
    limit: int | None = None
    growing: Growing | None = None

    def files(self) -> Iterator[FileState]:
        for path in self.paths:
            found = path.stat()
            yield FileState(self._name(path), found.st_size, found.st_mtime_ns)

    def rest(self, stored: Sequence[Span], bounds: Bounds = BOUNDS) -> Iterator[Span]:
        spans = self._spans(stored, bounds)
        if self.identities is None:
            yield from spans
            return
        if not stored:
            self.identities.clear()
        elif self.identities.empty():
            self._identify(self.identities)
        for span in spans:
            self.identities.add(self._labels(span, self.identities))
            yield span

    def read(self, span: Span) -> Iterator[Record]:
        return self._records(span, self._rows(span))

    def read_again(self, span: Span, names: frozenset[str] | None) -> Iterator[Record]:
        return self._records(span, self._rows(span, names))

    def intact(self, span: Span) -> bool:
        path = self.root / span.file
        try:
            return path.is_file() and self.format.digest(path, span) == span.digest
        except (OSError, ValueError):
            return False

    def weight(self, span: Span) -> int:
        return self.format.weight(self.root / span.file, span)

    def peek(self, count: int) -> Iterator[Record]:
        spans = self._spans((), Bounds(rows=max(1, min(count, BOUNDS.rows))))
        ids = self.identities

        def read(span: Span) -> Iterator[Record]:
            rows = self._rows(span)
            return self._numbered(span, rows) if ids is None else self._named(span, rows, ids, None)

        return islice(chain.from_iterable(map(read, spans)), count)

    # -- cutting ---------------------------------------------------------------------------------

    def _name(self, path: Place) -> str:
        return relative(path, self.root)

    def _files(self) -> Iterator[tuple[str, Place]]:
        known = tuple(self.paths)
        for path in known:
            yield self._name(path), path
        for path in self.growing(known) if self.growing else ():
            self.paths.append(path)
            yield self._name(path), path

    def _spans(self, stored: Sequence[Span], bounds: Bounds) -> Iterator[Span]:
        last = {span.file: span for span in stored}
        if last and (missing := last.keys() - {self._name(path) for path in self.paths}):
            raise SourceChangedError(f"the source has lost {min(missing)}")
        read = sum(span.rows for span in stored)
        left = None if self.limit is None else self.limit - read
        if left is not None and left < 0:
            message = f"{read:,} rows are read already: `limit: {self.limit:,}` needs a run folder"
            message += " of its own (--run-dir, or run.dir)"
            raise SourceChangedError(message)
        for name, path in self._files():
            if left is not None and left <= 0:
                return
            for span in self._cut((name, path), last.get(name), left, bounds):
                yield span
                left = None if left is None else left - span.rows

    def _cut(
        self, file: tuple[str, Place], last: Span | None, left: int | None, bounds: Bounds
    ) -> Iterator[Span]:
        """Spans of one file, `left` rows at most: near the limit, pieces are cut smaller."""
        name, path = file
        try:
            self.format.check(path)
            while left is None or left > 0:
                room = bounds if left is None else replace(bounds, rows=min(bounds.rows, left))
                for p in self.format.survey(path, last, room):
                    last = Span(name, p.start, p.stop, p.row, p.rows, p.digest, self.number)
                    left = None if left is None else left - p.rows
                    yield last
                    if left is not None and left < room.rows:
                        break
                else:
                    return
        except (OSError, ValueError) as exc:
            told = str(exc).removeprefix(f"{path}: ")
            raise RunError(f"{path}: {told}") from exc

    # -- reading ---------------------------------------------------------------------------------

    def _rows(self, span: Span, names: frozenset[str] | None = None) -> Iterator[Row]:
        path, rows = self.root / span.file, self.format
        if names is not None and self.identities is not None:
            names = names | self.identities.fields if self.identities.fields else None
        try:
            if names is not None and isinstance(rows, Columnar):
                yield from rows.read_columns(path, span, names)
            else:
                yield from rows.read(path, span)
        except OSError as exc:
            raise SourceChangedError(f"{span.file} cannot be read any more: {exc}") from exc

    def _records(self, span: Span, rows: Iterator[Row]) -> Iterator[Record]:
        if self.identities is None:
            yield from self._numbered(span, rows)
            return
        if self.identities.empty():
            self._identify(self.identities)
        with self.identities.owners() as owner:
            yield from self._named(span, rows, self.identities, owner)

    def _numbered(self, span: Span, rows: Iterator[Row]) -> Iterator[Record]:
        prefix = f"{self.number}/{span.file}#"
        row = span.row
        for values, digest, fault in rows:
            yield Record(f"{prefix}{row}", digest, values, fault)
            row += 1

    def _named(
        self,
        span: Span,
        rows: Iterator[Row],
        identities: Identities,
        owner: Callable[[str], int] | None,
    ) -> Iterator[Record]:
        for row, (values, digest, fault) in enumerate(rows, span.row):
            spot = place = f"{span.file}#{row}"
            if fault is None:
                try:
                    label = identities.label(values)
                    if owner is not None and owner(label) != hash64(spot):
                        raise SourceError("duplicate_id", f"{spot}: an earlier row has id {label}")
                    place = f"id:{label}"
                except RecordError as exc:
                    fault = SourceError(exc.kind, exc.message)
            yield Record(f"{self.number}/{place}", digest, values, fault)

    def _labels(self, span: Span, identities: Identities) -> Iterator[tuple[str, str]]:
        """The id of each row that has one, and where it stands."""
        for row, (values, _, fault) in enumerate(self._rows(span), span.row):
            if fault is None:
                with suppress(RecordError):
                    yield identities.label(values), f"{span.file}#{row}"

    def _identify(self, identities: Identities) -> None:
        """Make the index of ids anew: the spool was lost, or is another machine's."""
        spans = self._spans((), BOUNDS)
        identities.add(chain.from_iterable(self._labels(span, identities) for span in spans))
