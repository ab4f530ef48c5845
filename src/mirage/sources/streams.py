"""Files as streams of uncompressed bytes: plain, gzip and Zstandard, told apart by their content.

A compressed file cannot be entered in the middle. A stream that was left somewhere is therefore
kept, and taken up again by whoever next wants to read from there or further on: reading all spans
of a file in order decompresses it once.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zstandard

from mirage.places import Place, raw
from mirage.places.remote import Ranges

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
FEED = 16 * 1024
CHUNK = 1024 * 1024
IDLE = 4
WINDOW = 1 << 31

Stamp = tuple[int, int, int]


class Inflated(io.RawIOBase):
    """The content of a gzip or Zstandard file, over all its members or frames.

    It ends where the data ends or is damaged; `error` then says what is wrong. What stands before
    the damage is read like any other.
    """

    def __init__(self, file: io.BufferedIOBase, magic: bytes) -> None:
        self.file = file
        self.magic = magic
        self.engine: Any = None
        self.error = ""
        self._fed = b""
        self._out = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._out and not self.error:
            try:
                if not self._inflate():
                    return 0
            except (zlib.error, zstandard.ZstdError) as exc:
                self.error = f"the compressed data is damaged: {exc}"
        size = min(len(buffer), len(self._out))
        buffer[:size] = self._out[:size]
        self._out = self._out[size:]
        return size

    def close(self) -> None:
        self.file.close()
        super().close()

    def _inflate(self) -> bool:
        """Decompress some more; false at the end of the file."""
        if not self._fed:
            self._fed = self.file.read(FEED)
        if self.engine is None:
            self._fed = self._fed.lstrip(b"\0") if self.magic == GZIP else self._fed
        if not self._fed:
            self.error = "" if self.engine is None else "the compressed data ends in the middle"
            return False
        if self.engine is None:
            self.engine = self._engine()
        self._out = memoryview(self.engine.decompress(self._fed))
        self._fed = b""
        if self.engine.eof:
            self._fed = self.engine.unused_data
            self.engine = None
        return True

    def _engine(self) -> Any:
        if self.magic == GZIP:
            return zlib.decompressobj(zlib.MAX_WBITS | 16)
        return zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj()


class ByteStream:
    """A file's bytes from `at` (counted uncompressed) up to `stop`, as lines or in chunks."""

    __slots__ = ("at", "bare", "file", "raw", "stop")

    def __init__(self, path: Place) -> None:
        bare = self.bare = raw(path)
        far = isinstance(bare, Ranges)
        first = bare.read(4) or b"" if far else b""  # a buffer full would be thrown away
        if far:
            bare.seek(0)
        plain = io.BufferedReader(bare, CHUNK if far else CHUNK // 4)
        first = first if far else plain.peek(4)
        magic = next((m for m in (GZIP, ZSTD) if first.startswith(m)), b"")
        self.raw = Inflated(plain, magic) if magic else None
        self.file: Any = io.BufferedReader(self.raw, CHUNK // 4) if self.raw else plain
        self.at = 0
        self.stop: int | None = None

    def trouble(self) -> str:
        """What is wrong with the compressed data here; empty where it goes on, or ends well."""
        if self.raw is None:
            return ""
        self.stop = None
        return "" if self.read(1) else self.raw.error

    def __iter__(self) -> Iterator[bytes]:
        if self.stop is not None and self.at >= self.stop:
            return
        for line in self.file:
            self.at += len(line)
            if self.stop is not None and self.at >= self.stop:
                yield line[: len(line) - (self.at - self.stop)]
                return
            yield line

    def read(self, size: int) -> bytes:
        """At most `size` bytes, fewer only at the end."""
        if self.stop is not None:
            size = max(0, min(size, self.stop - self.at))
        data: bytes = self.file.read(size)
        self.at += len(data)
        return data

    def chunks(self) -> Iterator[bytes]:
        while data := self.read(CHUNK):
            yield data

    def go_to(self, offset: int) -> None:
        """Move forward to an offset; a plain file can go anywhere."""
        self.stop = None
        if self.raw is None:
            self.file.seek(offset)
            self.at = offset
        while self.at < offset and self.read(min(CHUNK, offset - self.at)):
            pass

    def end_at(self, stop: int | None) -> None:
        """Give out nothing from there on, and ask a store for nothing."""
        self.stop = stop
        if self.raw is None and isinstance(self.bare, Ranges):
            self.bare.until = stop

    def close(self) -> None:
        self.file.close()


class Streams:
    """Opens files at any offset, and keeps compressed streams that may be wanted again."""

    def __init__(self) -> None:
        self._idle: list[tuple[Place, Stamp, ByteStream]] = []

    @contextmanager
    def at(self, path: Place, start: int = 0, stop: int | None = None) -> Iterator[ByteStream]:
        found = path.stat()
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        stream = self._take(path, stamp, start) or ByteStream(path)
        kept = False
        try:
            stream.go_to(start)
            stream.end_at(stop)
            yield stream
            kept = stream.raw is not None
        finally:
            if kept:
                self._idle.append((path, stamp, stream))
            else:
                stream.close()
            while len(self._idle) > IDLE:
                self._idle.pop(0)[2].close()

    def _take(self, path: Place, stamp: Stamp, start: int) -> ByteStream | None:
        """The idle stream that has come nearest to `start`, taken out so that nobody shares it."""
        fitting = [e for e in list(self._idle) if e[:2] == (path, stamp) and e[2].at <= start]
        for entry in sorted(fitting, key=lambda e: -e[2].at):
            try:
                self._idle.remove(entry)
            except ValueError:  # another thread was faster
                continue
            return entry[2]
        return None
