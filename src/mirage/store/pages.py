"""One value out of a column chunk of Parquet, without reading the rest of it.

pyarrow reads row groups whole, and other writers put gigabytes of images into one. A chunk is a
sequence of pages, each behind a header that says how long it is and how many values it has: headers
are walked once, and a look-up reads and unpacks one page. The format: Apache Parquet 2.11,
"Data Pages" and "Encodings".
"""

from __future__ import annotations

import os
from bisect import bisect_right
from functools import cached_property
from typing import NamedTuple, cast

import pyarrow as pa
from msgspec import Struct

from mirage.store.thrift import Fields, fields, varint

DATA, DICTIONARY, DATA_2 = 0, 2, 3
PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY = 0, 2, 8
CODECS = {each.upper(): each for each in ("snappy", "gzip", "brotli", "zstd", "lz4_raw")}
CODECS["LZ4"] = "lz4_raw"  # as pyarrow calls both; Hadoop's frames do not unpack
HEADER, LONG_HEADER = 1 << 10, 1 << 20
MAX_PAGE = 1 << 30


class Unreadable(Exception):  # noqa: N818 - not an error: pyarrow is asked instead
    """The chunk is encoded in a way that is not read here."""


class Place(NamedTuple):
    """A page: where its body stands, and what its header says."""

    kind: int
    offset: int
    packed: int
    size: int
    values: int
    encoding: int
    levels: int
    compressed: bool


class Page(Struct, frozen=True):
    """A page, unpacked: its definition levels, and where its values stand."""

    data: bytes
    levels: tuple[int, int]
    values: int
    ends: list[int] = []
    """Where each plain value ends; empty for a page of references to the dictionary."""

    @property
    def held(self) -> int:
        return len(self.data) + 32 * len(self.ends)


class Chunk(Struct, dict=True):
    """A column chunk of texts. `nullable`: its pages have definition levels."""

    path: str
    start: int
    size: int
    rows: int
    codec: str
    nullable: bool

    @cached_property
    def places(self) -> list[Place]:
        """Its pages, in order. Raises Unreadable, OSError."""
        found: list[Place] = []
        at, stop, rows = self.start, self.start + self.size, 0
        handle = os.open(self.path, os.O_RDONLY)
        try:
            while at < stop and rows < self.rows:
                place = page_at(handle, at)
                found.append(place)
                rows += place.values if place.kind != DICTIONARY else 0
                at = place.offset + place.packed
        finally:
            os.close(handle)
        if rows != self.rows:
            raise Unreadable(f"{rows} of {self.rows} rows in its pages")
        return found

    @cached_property
    def data_pages(self) -> list[Place]:
        return [place for place in self.places if place.kind != DICTIONARY]

    @cached_property
    def firsts(self) -> list[int]:
        """The first row of each data page."""
        firsts, row = [], 0
        for place in self.data_pages:
            firsts.append(row)
            row += place.values
        return firsts

    @cached_property
    def dictionary(self) -> Page:
        for place in self.places:
            if place.kind == DICTIONARY:
                return self.page(place)
        raise Unreadable("no dictionary")

    def number(self, row: int) -> int:
        """The data page that a row is in."""
        return bisect_right(self.firsts, row) - 1

    def page(self, place: Place) -> Page:
        """Read and unpack a page. Raises Unreadable, OSError."""
        if max(place.size, place.packed) > MAX_PAGE:
            raise Unreadable(f"a page of {place.size:,} bytes")
        handle = os.open(self.path, os.O_RDONLY)
        try:
            raw = os.pread(handle, place.packed, place.offset)
        finally:
            os.close(handle)
        if len(raw) < place.packed:
            raise OSError(f"{self.path} ends within a page")
        if place.kind == DATA_2:
            body = self._unpacked(raw[place.levels :], place.size - place.levels, place.compressed)
            data, levels, at = raw[: place.levels] + body, (0, place.levels), place.levels
        else:
            data = self._unpacked(raw, place.size, place.compressed)
            levels, at = (0, 0), 0
            if self.nullable and place.kind == DATA:
                at = 4 + int.from_bytes(data[:4], "little")
                levels = 4, at
        if place.encoding == PLAIN or place.kind == DICTIONARY:
            return Page(data, levels, at, ends(data, at))
        if place.encoding not in (PLAIN_DICTIONARY, RLE_DICTIONARY):
            raise Unreadable(f"encoding {place.encoding}")
        return Page(data, levels, at)

    def value(self, page: Page, row: int) -> bytes | None:
        """The value of a row, counted within its page; None for null."""
        if self.nullable:
            present, before = defined(page.data, *page.levels, row)
            if not present:
                return None
            row = before
        if page.ends:
            return plain(page, row)
        width = page.data[page.values]
        which = item(page.data, page.values + 1, width, row) if width else 0
        return plain(self.dictionary, which)

    def _unpacked(self, raw: bytes, size: int, compressed: bool) -> bytes:
        if self.codec == "UNCOMPRESSED" or not compressed or not size:
            return raw
        if self.codec not in CODECS:
            raise Unreadable(f"codec {self.codec}")
        codec = pa.Codec(CODECS[self.codec])
        try:
            return cast(bytes, codec.decompress(raw, decompressed_size=size, asbytes=True))
        except OSError as exc:
            raise Unreadable(f"{self.codec}: {exc}") from exc


def page_at(handle: int, at: int) -> Place:
    for length in (HEADER, LONG_HEADER):
        raw = os.pread(handle, length, at)
        try:
            header, end = fields(raw)
            break
        except IndexError:
            continue
        except ValueError as exc:
            raise Unreadable(str(exc)) from None
    else:
        raise Unreadable("a page without a header")
    try:
        return described(header, at + end)
    except (KeyError, TypeError) as exc:
        raise Unreadable(f"a page header without {exc}") from None


def described(header: Fields, offset: int) -> Place:
    """Field numbers are those of parquet.thrift: PageHeader and the headers within it."""

    def number(within: Fields, key: int, default: int | None = None) -> int:
        return cast(int, within[key] if default is None else within.get(key, default))

    kind, size, packed = number(header, 1), number(header, 2), number(header, 3)
    if kind == DATA_2:
        inner = cast(Fields, header[8])
        levels = number(inner, 5) + number(inner, 6)
        values, encoding, compressed = number(inner, 1), number(inner, 4), number(inner, 7, 1)
        return Place(kind, offset, packed, size, values, encoding, levels, bool(compressed))
    if kind not in (DATA, DICTIONARY):
        raise Unreadable(f"a page of kind {kind}")
    inner = cast(Fields, header[5 if kind == DATA else 7])
    return Place(kind, offset, packed, size, number(inner, 1), number(inner, 2), 0, True)


def ends(data: bytes, at: int) -> list[int]:
    """Where plain texts end: each stands behind its length, in four bytes."""
    found = []
    stop = len(data)
    while at + 4 <= stop:
        at += 4 + int.from_bytes(data[at : at + 4], "little")
        found.append(at)
    return found


def plain(page: Page, number: int) -> bytes:
    start = page.ends[number - 1] if number else page.values
    return page.data[start + 4 : page.ends[number]]


def item(data: bytes, at: int, width: int, wanted: int) -> int:
    """One of the integers in a sequence of runs, repeated or packed (RLE/bit-packing hybrid)."""
    size = (width + 7) // 8
    while True:
        head, at = varint(data, at)
        if head & 1:
            count = (head >> 1) * 8
            if wanted < count:
                bit = wanted * width
                raw = data[at + bit // 8 : at + (bit + width + 7) // 8]
                return int.from_bytes(raw, "little") >> bit % 8 & (1 << width) - 1
            at += count // 8 * width
        else:
            count = head >> 1
            if wanted < count:
                return int.from_bytes(data[at : at + size], "little")
            at += size
        wanted -= count


def defined(data: bytes, at: int, stop: int, row: int) -> tuple[bool, int]:
    """Whether a row has a value, and how many have one before it: levels of one bit."""
    before = 0
    while at < stop:
        head, at = varint(data, at)
        if head & 1:
            count = (head >> 1) * 8
            bits = int.from_bytes(data[at : at + count // 8], "little")
            at += count // 8
            if row < count:
                return bool(bits >> row & 1), before + (bits & (1 << row) - 1).bit_count()
            before += bits.bit_count()
        else:
            count, level = head >> 1, data[at]
            at += 1
            if row < count:
                return bool(level), before + row * bool(level)
            before += count * bool(level)
        row -= count
    raise Unreadable("levels that end too soon")
