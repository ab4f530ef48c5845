"""WebDataset shards: tar files in which the members of one sample stand next to each other.

https://github.com/webdataset/webdataset: `a/7.jpg`, `a/7.json` and `a/7.seg.png` are one sample,
with the key `a/7` and the members `jpg`, `json` and `seg.png`. Folders, links, hidden files and
names without a dot belong to none. Spans are in bytes; a survey reads headers only.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from msgspec import Struct
from xxhash import xxh3_128, xxh3_128_digest

from mirage.errors import SourceChangedError, SourceError
from mirage.places import Place
from mirage.record import Span
from mirage.sources.blocks import Bounds
from mirage.sources.files import Piece, Row
from mirage.sources.streams import ByteStream, Streams

BLOCK = tarfile.BLOCKSIZE
CHUNK = 1 << 20
NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
TEXTS = frozenset({"txt", "text", "caption", "transcript", "cls", "cls2", "inx", "id"})
EXTENDED = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)
REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
LONGEST_HEADER = 1 << 20
LARGEST = 1 << 45
NO_END = "the archive has no end mark: it was cut off"


class Member(Struct, frozen=True):
    """One member: bytes `start` to `stop` of the archive, `head` the headers, `data` its content
    where that was asked for. `kind` is what stands behind the key in its name, in small letters.

    `fault` says why nothing from here on can be trusted.
    """

    key: str
    kind: str
    start: int
    stop: int
    head: bytes = b""
    data: bytes = b""
    fault: str = ""


class Shards:
    """The format: rows are samples, `__key__` and a value for each member, by its extension."""

    def __init__(self) -> None:
        self.streams = Streams()

    def check(self, path: Place) -> None:
        with self.streams.at(path) as stream:
            head = stream.read(BLOCK)
        if head.strip(b"\0"):
            header(head, "this is no tar file")

    def survey(self, path: Place, after: Span | None, bounds: Bounds) -> Iterator[Piece]:
        start, row = (after.stop, after.row + after.rows) if after else (0, 0)
        if after and self._continued(path, after):
            raise SourceChangedError(f"the last sample read of {after.file} has been continued")
        with self.streams.at(path, start) as stream:
            yield from cut(samples(members(stream, resumed=after is not None)), row, bounds)

    def read(self, path: Place, span: Span) -> Iterator[Row]:
        left = span.rows
        for sample in self._samples(path, span, keep=True):
            yield row_of(sample, span.file)
            left -= 1
        if left:
            raise SourceChangedError(f"{span.file} has {left:,} samples fewer than it had")

    def digest(self, path: Place, span: Span) -> str:
        """Of the headers, which tell names, sizes and times; each row has a digest of its own."""
        if self._continued(path, span):
            return ""
        hashed = xxh3_128()
        for sample in self._samples(path, span):
            hashed.update(mark(sample))
        return hashed.hexdigest()

    def weight(self, path: Place, span: Span) -> int:
        return span.stop - span.start

    def _samples(self, path: Place, span: Span, *, keep: bool = False) -> Iterator[list[Member]]:
        with self.streams.at(path, span.start) as stream:
            yield from samples(members(stream, stop=span.stop, keep=keep))

    def _continued(self, path: Place, span: Span) -> bool:
        """Whether what follows a span belongs to its last sample."""
        with self.streams.at(path, span.stop) as stream:
            following = next(members(stream, resumed=True), None)
        if following is None or not following.key:
            return False
        last = ""
        for sample in self._samples(path, span):
            last = sample[0].key
        return last == following.key


# -- the layout of a tar ---------------------------------------------------------------------------


def members(
    stream: ByteStream, *, resumed: bool = False, stop: int | None = None, keep: bool = False
) -> Iterator[Member]:
    """The members that belong to samples, from where the stream stands up to `stop`, and a faulty
    one where it breaks off; with their data where that is to be kept.

    Archives that were written one behind the other are read on. Where a survey is `resumed` and
    nothing more is there, what broke off has been counted before.
    """
    first, ended = stream.at, False
    while stop is None or stream.at < stop:
        start = stream.at
        head = stream.read(BLOCK)
        if not head and (ended or start == first):
            if (resumed and start == first) or not stream.trouble():
                return
        elif head and not head.strip(b"\0"):
            ended = True
            continue
        try:
            member = described(stream, start, head, keep=keep)
        except ValueError as exc:
            why = stream.trouble() or str(exc)
            for _ in stream.chunks():  # all of that is lost
                pass
            yield Member("", "", start, max(stream.at, start + 1), head, fault=why)
            return
        ended = False
        if member.key or member.fault:
            yield member
        if member.fault:
            return


def described(stream: ByteStream, start: int, head: bytes, *, keep: bool) -> Member:
    """The member whose first header has been read; the stream then stands behind it.

    Raises ValueError where there is no member.
    """
    if not head:
        raise ValueError(NO_END)
    info, more = header(head, "a header is damaged"), dict[str, bytes]()
    while info.type in EXTENDED:
        if info.size > LONGEST_HEADER:
            raise ValueError(f"a header of {info.size:,} bytes")
        wanted = padded(info.size) + BLOCK
        read = stream.read(wanted)
        if len(read) < wanted:
            raise ValueError("the archive ends within a header")
        more |= extension(info.type, read[: info.size])
        head += read
        info = header(read[-BLOCK:], "a header is damaged")
    size = checked(int(more.get("size", info.size)), "a header is damaged")
    name = text(more["path"]) if "path" in more else info.name
    name = name.removeprefix("./")
    regular = info.type in REGULAR and not any(key.startswith("GNU.sparse") for key in more)
    named = NAME.fullmatch(name) if regular else None
    held = info.type in tarfile.REGULAR_TYPES or info.type not in tarfile.SUPPORTED_TYPES
    stop = stream.at + (padded(size) if held else 0)
    data = taken(stream, size) if keep and named else b""
    reached = passed_over(stream, stop)
    why = "" if reached else stream.trouble() or f"the archive ends within '{name:.200}'"
    key, kind = (named[1], named[2].lower()) if named else ("", "")
    return Member(key, kind, start, stop, head, data, why)


def header(block: bytes, otherwise: str) -> tarfile.TarInfo:
    """One header block. Raises ValueError."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as exc:
        raise ValueError(f"{otherwise}: {exc}") from exc
    checked(info.size, otherwise)
    return info


def checked(size: int, otherwise: str) -> int:
    if not 0 <= size <= LARGEST:
        raise ValueError(f"{otherwise}: a size of {size}")
    return size


def extension(kind: bytes, body: bytes) -> dict[str, bytes]:
    """What a header says of the next one: a long name (GNU), or records of PAX (POSIX.1-2017, pax,
    "Extended Header"), each `LENGTH KEY=VALUE`. Raises ValueError.

    Python's own writer makes one for each file whose time is not a whole second, so that they are
    as common as files.
    """
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": body.partition(b"\0")[0]}
    found: dict[str, bytes] = {}
    at = 0
    while kind == tarfile.XHDTYPE and at < len(body):
        space = body.index(b" ", at)
        end = at + int(body[at:space])
        if not space < end <= len(body):
            raise ValueError("a header is damaged: a record of no length")
        key, _, value = body[space + 1 : end - 1].partition(b"=")
        found[text(key)] = value
        at = end
    return found


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def taken(stream: ByteStream, size: int) -> bytes:
    """The next bytes, fewer at the end; a size that is a lie costs no memory."""
    pieces = []
    while size and (piece := stream.read(min(size, CHUNK))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def passed_over(stream: ByteStream, stop: int) -> bool:
    """Move on to `stop`; whether the stream reaches it."""
    if stop > stream.at:
        stream.go_to(stop - 1)
        return len(stream.read(1)) == 1 and stream.at == stop
    return True


# -- samples ---------------------------------------------------------------------------------------


def samples(found: Iterable[Member]) -> Iterator[list[Member]]:
    """Members grouped by their key.

    A fault without a key is the last sample's, which may have lost members; where there is none,
    it stands for all that is lost.
    """
    sample: list[Member] = []
    for member in found:
        if sample and member.key != sample[0].key and (member.key or not member.fault):
            yield sample
            sample = []
        sample.append(member)
    if sample:
        yield sample


def mark(sample: Iterable[Member]) -> bytes:
    """What a sample looks like from its headers."""
    return b"".join(f"{m.start} {m.stop} {m.fault}\n".encode() + m.head for m in sample)


def cut(found: Iterable[list[Member]], row: int, bounds: Bounds) -> Iterator[Piece]:
    """Pieces within the bounds."""
    hashed, rows, start, stop = xxh3_128(), 0, 0, 0
    for sample in found:
        end = sample[-1].stop
        if rows and (rows == bounds.rows or end - start > bounds.size):
            yield Piece(start, stop, row, rows, hashed.hexdigest())
            row, rows, hashed = row + rows, 0, xxh3_128()
        start = start if rows else sample[0].start
        stop, rows = end, rows + 1
        hashed.update(mark(sample))
    if rows:
        yield Piece(start, stop, row, rows, hashed.hexdigest())


def row_of(sample: list[Member], file: str) -> Row:
    """A sample's values: JSON parsed, texts decoded, anything else as bytes."""
    key, last = sample[0].key, sample[-1]
    if last.fault:
        where = f"{file}: behind byte {last.start:,}" + (f" ('{key:.200}')" if key else "")
        fault = SourceError("damaged", f"{where}: {last.fault}; what follows is lost")
        return {}, xxh3_128_digest(mark(sample)), fault
    values: dict[str, Any] = {"__key__": key}
    hashed, problem = xxh3_128(key.encode("utf-8", "surrogateescape")), ""
    for member in sample:
        size = len(member.data)
        hashed.update(f"\0{member.kind}\0{size}\0".encode("utf-8", "surrogateescape"))
        hashed.update(member.data)
        try:
            member.key.encode()
            if member.kind in values:
                raise ValueError("the sample has two of it")
            values[member.kind] = parsed(member.kind, member.data)
        except ValueError as exc:
            problem = problem or f"{file}: {key!r:.200}, {member.kind!r:.100}: {exc}"
    if problem:
        return {}, hashed.digest(), SourceError("malformed", problem)
    return values, hashed.digest(), None


def parsed(kind: str, data: bytes) -> Any:
    """A member's value by the last part of its extension. Raises ValueError."""
    last = kind.rpartition(".")[2]
    if last == "json":
        return orjson.loads(data)
    return data.decode() if last in TEXTS else data
