"""What the formats share whose rows follow each other in a stream of bytes: lines, CSV, arrays.

Such a format says how a stream is split into rows and how a row is parsed. Spans are in bytes,
uncompressed, and lie next to each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from xxhash import xxh3_128, xxh3_128_digest

from mirage.errors import SourceChangedError, SourceError
from mirage.places import Place, RemotePath
from mirage.record import Span
from mirage.sources.blocks import Bounds
from mirage.sources.files import Piece, Row
from mirage.sources.streams import ByteStream, Streams

BOM = b"\xef\xbb\xbf"
RAW = 2_000
Split = tuple[bytes, int]


class Bytewise:
    """The shared half of a format; `split` and `parse` are the other."""

    blank = b" \t\r\n"
    """What may stand before a row and belongs to none."""

    def __init__(self) -> None:
        self.streams = Streams()
        self._counted: dict[Place, tuple[int, int]] = {}

    def split(self, stream: ByteStream) -> Iterator[Split]:
        """All bytes of the stream in pieces, each with the number of rows in it: 0 or 1."""
        raise NotImplementedError

    def parse(self, raw: bytes, head: Any) -> Mapping[str, Any]:
        """The values of a row. Raises ValueError where it is malformed."""
        raise NotImplementedError

    def head(self, path: Place) -> Any:
        """What the rows of a file have in common. Raises ValueError where it is unusable."""

    def check(self, path: Place) -> None:
        self.head(path)

    def weight(self, path: Place, span: Span) -> int:
        return span.stop - span.start

    def survey(self, path: Place, after: Span | None, bounds: Bounds) -> Iterator[Piece]:
        start, row = (after.stop, after.row + after.rows) if after else (0, 0)
        if after and not self._ends(path, after):
            raise SourceChangedError(f"the last row read of {after.file} has been continued")
        with self.streams.at(path, start) as stream:
            yield from cut(self._splits(stream, after is not None), start, row, bounds)

    def read(self, path: Place, span: Span) -> Iterator[Row]:
        head = self.head(path)
        at, left = span.start, span.rows
        with self.streams.at(path, span.start, span.stop) as stream:
            for raw, rows in self.split(stream):
                if rows:
                    yield self._row(raw, head, at, (path, span.file))
                    left -= 1
                    if not left:
                        break
                at += len(raw)
            error = stream.trouble() if left else ""
        if left == 1 and error:
            message = f"{span.file}: {error}"
            yield {}, xxh3_128_digest(message.encode()), SourceError("damaged", message)
        elif left:
            raise SourceChangedError(f"{span.file} has {left:,} rows fewer than it had")

    def digest(self, path: Place, span: Span) -> str:
        if not self._ends(path, span):
            return ""
        hashed = xxh3_128()
        with self.streams.at(path, span.start, span.stop) as stream:
            for data in stream.chunks():
                hashed.update(data)
        return hashed.hexdigest()

    def _splits(self, stream: ByteStream, resumed: bool) -> Iterator[Split]:
        """As `split`, and one row more where the stream breaks off: it stands for what is lost.

        A row without bytes at the very start of a resumed survey is such a one, counted before.
        """
        counted = resumed
        for raw, rows in self.split(stream):
            if raw or not counted:
                yield raw, rows
            counted = counted and not raw
        if not counted and stream.trouble():
            yield b"", 1

    def _row(self, raw: bytes, head: Any, at: int, file: tuple[Place, str]) -> Row:
        row = raw.removeprefix(BOM).strip(self.blank) if at == 0 else raw.strip(self.blank)
        digest = xxh3_128_digest(row)
        try:
            return self.parse(row, head), digest, None
        except ValueError as exc:
            begin = at + len(raw) - len(raw.lstrip(self.blank))
            text = row[: 4 * RAW].decode("utf-8", "replace")[:RAW]
            message = f"{file[1]}:{self._where(file[0], begin)}: {exc}"
            return {}, digest, SourceError("malformed", message, raw=text)

    def _where(self, path: Place, offset: int) -> str:
        """The line of a byte; of an object in a store only the byte: nothing more is read there."""
        return f"byte {offset}" if isinstance(path, RemotePath) else f"{self._line(path, offset)}"

    def _line(self, path: Place, offset: int) -> int:
        """The number of the line, from 1, that holds the byte at `offset`."""
        at, count = self._counted.get(path, (0, 0))
        at, count = (at, count) if at <= offset else (0, 0)
        with self.streams.at(path, at, offset) as stream:
            count += sum(data.count(b"\n") for data in stream.chunks())
        self._counted[path] = (offset, count)
        return count + 1

    def _ends(self, path: Place, span: Span) -> bool:
        """Whether a row still ends where the span does."""
        with self.streams.at(path, max(0, span.stop - 1), span.stop + 1) as stream:
            last, following = stream.read(1), stream.read(1)
        return self.ends(last, following)

    def ends(self, last: bytes, following: bytes) -> bool:
        """Whether a row ends between two bytes; both are empty at the ends of the file."""
        return last == b"\n" or following in (b"", b"\n", b"\r")


def cut(splits: Iterable[Split], start: int, row: int, bounds: Bounds) -> Iterator[Piece]:
    """Pieces within the bounds; what follows the last row and is none is left out."""
    hashed, size, rows = xxh3_128(), 0, 0
    for raw, count in splits:
        if rows and (rows + count > bounds.rows or size + len(raw) > bounds.size):
            yield Piece(start, start + size, row, rows, hashed.hexdigest())
            start, row = start + size, row + rows
            hashed, size, rows = xxh3_128(), 0, 0
        hashed.update(raw)
        size, rows = size + len(raw), rows + count
    if rows:
        yield Piece(start, start + size, row, rows, hashed.hexdigest())


def parse_object(raw: bytes) -> dict[str, Any]:
    """One JSON object. Of repeated keys the last counts; an integer beyond 64 bits is a float."""
    values = orjson.loads(raw)
    if type(values) is not dict:
        names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
        raise ValueError(f"an object is wanted, not {names.get(type(values), 'a number')}")
    return values
