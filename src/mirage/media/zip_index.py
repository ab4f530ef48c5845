"""The central directory of a zip, streamed: PKWARE's APPNOTE 6.3.10, sections 4.3.12 to 4.3.16.

`zipfile` reads the same with an object for each member: for the 1.6 million images of one archive
that is a gigabyte and half a minute, before the first of them is seen.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

HEADER = struct.Struct("<4s4xHH4xLLLHHH8xL")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_SIZE = 20
LONGEST_COMMENT = 1 << 16
CHUNK = 1 << 20
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
UTF8 = 0x800


class Listed(NamedTuple):
    """A member as the directory lists it; `offset` is that of its local header."""

    name: str
    flags: int
    method: int
    checksum: int
    packed: int
    size: int
    offset: int


class Directory(NamedTuple):
    """Where the directory lies, how many members it lists, and what stands before the archive."""

    start: int
    size: int
    members: int
    before: int


def listed(file: BinaryIO) -> Iterator[Listed]:
    """All members, in the directory's order. Raises ValueError where it is damaged or missing."""
    where = find(file)
    ahead, left = where.start, where.size
    buffer, at = b"", 0
    for _ in range(where.members):
        while (need := wanted(buffer, at)) > len(buffer) - at:
            piece = os.pread(file.fileno(), min(max(CHUNK, need), left), ahead)
            if not piece:
                raise ValueError("the directory of the archive is cut off")
            ahead, left = ahead + len(piece), left - len(piece)
            buffer, at = buffer[at:] + piece, 0
        yield entry(buffer, at, where.before)
        at += need


def find(file: BinaryIO) -> Directory:
    """By the end record, and the 64-bit one before it where there is one."""
    handle = file.fileno()
    total = os.fstat(handle).st_size
    tail_at = max(0, total - END.size - LONGEST_COMMENT)
    tail = os.pread(handle, total - tail_at, tail_at)
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < END.size:
        raise ValueError("the archive has no directory")
    _, disk, first, _, count, size, start, _ = END.unpack_from(tail, at)
    end = tail_at + at
    if count == FULL16 or FULL32 in (size, start):
        place = end - LOCATOR_SIZE - END64.size
        found = os.pread(handle, END64.size + 4, place) if place >= 0 else b""
        if found[:4] == b"PK\6\6" and found[-4:] == b"PK\6\7":
            *_, disk, first, _, count, size, start = END64.unpack(found[:-4])
            end = place
        elif FULL32 in (size, start):
            raise ValueError("the archive has no 64-bit directory")
    before = end - size - start
    if disk or first or before < 0:
        raise ValueError("the directory of the archive is not where it should be")
    return Directory(start + before, size, count, before)


def wanted(buffer: bytes, at: int) -> int:
    """How many bytes the entry at `at` has, as far as that can be seen."""
    if len(buffer) - at < HEADER.size:
        return HEADER.size
    _, _, _, _, _, _, name, extra, comment, _ = HEADER.unpack_from(buffer, at)
    return HEADER.size + int(name) + int(extra) + int(comment)


def entry(buffer: bytes, at: int, before: int) -> Listed:
    """The entry at `at`, which is there as a whole."""
    mark, flags, method, checksum, packed, size, named, more, _, offset = HEADER.unpack_from(
        buffer, at
    )
    if mark != b"PK\1\2":
        raise ValueError("the directory of the archive is damaged")
    at += HEADER.size
    name = buffer[at : at + named].decode("utf-8" if flags & UTF8 else "cp437")
    if FULL32 in (size, packed, offset):
        large = large_values(buffer[at + named : at + named + more])
        size = next(large, size) if size == FULL32 else size
        packed = next(large, packed) if packed == FULL32 else packed
        offset = next(large, offset) if offset == FULL32 else offset
    return Listed(name, flags, method, checksum, packed, size, offset + before)


def large_values(extra: bytes) -> Iterator[int]:
    """The 64-bit values that take the place of those that are full, in order (4.5.3)."""
    while len(extra) >= 4:
        tag, size = struct.unpack_from("<HH", extra)
        if tag == 1:
            body = extra[4 : 4 + size]
            yield from (value for (value,) in struct.iter_unpack("<Q", body[: len(body) // 8 * 8]))
            return
        extra = extra[4 + size :]
