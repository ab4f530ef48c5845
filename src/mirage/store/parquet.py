"""An image store in Parquet: a file, or a folder of parts; key and `base64`, row by row.

Keys are pandas' index, dask's, or a plain column. Footers are read when they are first needed.
Where row groups' statistics say that keys are sorted, a look-up reads the keys of one row group; an
image is read out of one page (`pages`), however large its row group is.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from mirage.errors import MediaError, boundary
from mirage.store.coding import MAX_TEXT
from mirage.store.entries import Entry, Finding, Tell
from mirage.store.frame import COLUMN, indices, key_column
from mirage.store.kept import Kept
from mirage.store.pages import Chunk, Page, Unreadable

MAX_PART = 2_147_483_646
"""Bytes of a part, on disk and of its texts: where the offsets of older readers end."""
BATCH = 10_000
FEW_KEYS = 1 << 16
"""The most keys of a row group that are read to find one of them."""


class Group(NamedTuple):
    """A row group: which one of which part, its first row in the part and in the store."""

    part: int
    number: int
    start: int
    first: int
    rows: int
    low: str | None
    high: str | None


class Parquet:
    """An entry's place is the number of its row, counted through all parts."""

    name = "parquet"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts = parts_of(path)
        self._lock = threading.RLock()
        self._files: Kept[int, pq.ParquetFile] = Kept(16, pq.ParquetFile.close)
        self._keys: Kept[Group, list[Any]] = Kept(2 * FEW_KEYS, size=len)
        self._chunks: Kept[Group, Chunk] = Kept(1 << 16, size=lambda chunk: len(chunk.places))
        self._pages: Kept[tuple[Group, int], Page] = Kept(32 << 20, size=lambda page: page.held)
        self.key = key_column(self._file(0).schema_arrow, self.parts[0])
        self._lost: list[Finding] = []

    @cached_property
    def groups(self) -> list[Group]:
        """The row groups of all parts that can be read; the others are told by `entries`."""
        made: list[Group] = []
        first = 0
        with self._lock:
            for part, path in enumerate(self.parts):
                try:
                    rows = self._row_groups(part, first)
                except (ValueError, OSError) as exc:
                    self._lost.append(Finding(str(path), "broken", str(exc)))
                    continue
                made += rows
                first += sum(group.rows for group in rows)
        return made

    @property
    def further(self) -> list[str]:
        with self._lock:
            names = self._file(0).schema_arrow.names
        return [name for name in names if name not in (self.key, COLUMN)]

    def entries(self, tell: Tell) -> Iterator[Entry]:
        groups = self.groups
        for lost in self._lost:
            tell(lost)
        for group in groups:
            row = group.first
            for batch in self._batches(group):
                for row, key in enumerate(batch, row):  # noqa: B020
                    try:
                        yield Entry(name_of(key), row)
                    except ValueError as exc:
                        tell(Finding(self.where(Entry("", row)), "key", str(exc)))
                row += 1

    def text(self, entry: Entry) -> bytes:
        group = self._group(entry)
        with boundary(MediaError, "broken"):
            try:
                value = self._paged(group, entry.place - group.first)
            except Unreadable:
                value = self._passed(group, entry.place - group.first)
        if value is None:
            raise MediaError("type", "the base64 is null")
        if len(value) > MAX_TEXT:
            raise MediaError("bomb", f"a text of {len(value):,} bytes; the limit is {MAX_TEXT:,}")
        return value

    def where(self, entry: Entry) -> str:
        group = self._group(entry)
        return f"{self.parts[group.part]}: row {group.start + entry.place - group.first}"

    def count(self) -> int | None:
        return self.groups[-1].first + self.groups[-1].rows if self.groups else 0

    @cached_property
    def sorted(self) -> bool:
        return all(g.low is not None and g.rows <= FEW_KEYS for g in self.groups) and all(
            (before.high or "") < (after.low or "") for before, after in pairwise(self.groups)
        )

    def find(self, key: str) -> Entry | None:
        at = bisect_right(self._lows, key) - 1
        if at < 0 or key > (self.groups[at].high or ""):
            return None
        group = self.groups[at]
        with self._lock:
            keys = self._keys.get(group, self._read_keys)
        return Entry(key, group.first + keys.index(key)) if key in keys else None

    def faults(self) -> Iterator[Finding]:
        for part, path in enumerate(self.parts):
            try:
                with self._lock:
                    file = self._file(part)
                    schema, texts = file.schema_arrow, unpacked_size(file.metadata)
            except (ValueError, OSError):
                continue
            if self.key not in indices(schema):
                what = f"pandas does not take {self.key!r} for the index: every look-up fails"
                yield Finding(str(path), "pandas-index", what)
            if (size := max(path.stat().st_size, texts)) > MAX_PART:
                yield Finding(str(path), "part-size", f"{size:,} bytes; a part has less than 2 GB")

    def close(self) -> None:
        with self._lock:
            for kept in (self._files, self._keys, self._chunks, self._pages):
                kept.clear()

    @cached_property
    def _firsts(self) -> list[int]:
        return [group.first for group in self.groups]

    @cached_property
    def _lows(self) -> list[str]:
        return [group.low or "" for group in self.groups]

    def _group(self, entry: Entry) -> Group:
        return self.groups[bisect_right(self._firsts, entry.place) - 1]

    def _row_groups(self, part: int, first: int) -> list[Group]:
        metadata = self._file(part).metadata
        column, start, made = leaf(metadata, self.key), 0, []
        leaf(metadata, COLUMN)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            low, high = bounds(group.column(column))
            if group.num_rows:
                made.append(Group(part, number, start, first + start, group.num_rows, low, high))
            start += group.num_rows
        return made

    def _batches(self, group: Group) -> Iterator[list[Any]]:
        """The keys of a row group."""
        file = pq.ParquetFile(self.parts[group.part])
        with file, boundary(MediaError, "broken"):
            wanted = {"row_groups": [group.number], "columns": [self.key], "use_threads": False}
            for batch in file.iter_batches(BATCH, **wanted):
                yield batch.column(0).to_pylist()

    def _read_keys(self, group: Group) -> list[Any]:
        table = self._file(group.part).read_row_group(
            group.number, columns=[self.key], use_threads=False
        )
        keys: list[Any] = table.column(0).to_pylist()
        return keys

    def _paged(self, group: Group, row: int) -> bytes | None:
        with self._lock:
            chunk = self._chunks.get(group, self._chunk)
        number = chunk.number(row)
        with self._lock:
            page = self._pages.find((group, number))
        if page is None:
            page = chunk.page(chunk.data_pages[number])
            with self._lock:
                self._pages.put((group, number), page)
        return chunk.value(page, row - chunk.firsts[number])

    def _chunk(self, group: Group) -> Chunk:
        metadata = self._file(group.part).metadata
        number = leaf(metadata, COLUMN)
        column = metadata.row_group(group.number).column(number)
        kind = metadata.schema.column(number)
        if kind.max_repetition_level or kind.max_definition_level > 1:
            raise Unreadable("nested")
        start, behind = column.data_page_offset, column.dictionary_page_offset
        start = min(start, behind) if behind else start
        size, nullable = column.total_compressed_size, bool(kind.max_definition_level)
        path = str(self.parts[group.part])
        return Chunk(path, start, size, group.rows, column.compression, nullable)

    def _passed(self, group: Group, row: int) -> bytes | None:
        """A value that pyarrow has to read, with all that stand before it."""
        with pq.ParquetFile(self.parts[group.part]) as file:
            wanted = {"row_groups": [group.number], "columns": [COLUMN], "use_threads": False}
            for batch in file.iter_batches(64, **wanted):
                if row < batch.num_rows:
                    value = batch.column(0).cast(pa.large_binary())[row].as_py()
                    return None if value is None else bytes(value)
                row -= batch.num_rows
        raise MediaError("truncated", "the row group ends before this row")

    def _file(self, part: int) -> pq.ParquetFile:
        return self._files.get(part, self._opened)

    def _opened(self, part: int) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self.parts[part])
        except pa.ArrowException as exc:
            raise ValueError(f"this is not Parquet: {exc}") from exc


def parts_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    parts = sorted((each for each in path.glob("*.parquet") if each.is_file()), key=natural)
    if not parts:
        raise ValueError(f"{path} is no image store: there are no Parquet files in it")
    return parts


def natural(path: Path) -> list[str | int]:
    """By name, numbers as numbers: dask has part.2 before part.10."""
    pieces = re.split(r"(\d+)", path.name)
    return [int(piece) if at % 2 else piece for at, piece in enumerate(pieces)]


def unpacked_size(metadata: Any) -> int:
    """How many bytes the texts of a part have."""
    number = leaf(metadata, COLUMN)
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    return sum(group.column(number).total_uncompressed_size for group in groups)


def leaf(metadata: Any, name: str) -> int:
    """The number of a column among those that are stored. Raises ValueError."""
    for number in range(metadata.num_columns):
        if metadata.schema.column(number).path == name:
            return number
    raise ValueError(f"there is no column {name!r}")


def name_of(key: Any) -> str:
    """A key as a text: numbers and bytes stand for one. Raises ValueError."""
    if key is None:
        raise ValueError("the key is null")
    return key.decode() if isinstance(key, bytes) else str(key)


def bounds(column: Any) -> tuple[str | None, str | None]:
    """The least and the greatest key of a row group, where its statistics say."""
    found = column.statistics if column.is_stats_set else None
    if found is None or not found.has_min_max or found.null_count:
        return None, None
    low, high = found.min, found.max
    return (low, high) if isinstance(low, str) and isinstance(high, str) else (None, None)
