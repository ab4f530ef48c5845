"""An image store in Parquet: a file, or a folder of parts; key and `base64`, row by row.

Keys are pandas' index, dask's, or a plain column. Footers are read when they are first
needed. Where row groups' statistics say that keys are sorted, a look-up reads the keys of one.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections import OrderedDict
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

COLUMN = "base64"
KEYS = ("__index_level_0__", "__null_dask_index__", "id", "key")
OPEN_FILES = 16
KEPT_BYTES = 32 << 20
MAX_PART = 2_147_483_646


class Group(NamedTuple):
    """A row group: which one of which part, its first row in the store, and how many it has."""

    part: int
    number: int
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
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        self._columns: OrderedDict[tuple[Group, str], Any] = OrderedDict()
        self.key = key_column(self._file(0).schema_arrow, self.parts[0])

    @cached_property
    def groups(self) -> list[Group]:
        with self._lock:
            made: list[Group] = []
            first = 0
            for part in range(len(self.parts)):
                file = self._file(part)
                names = file.schema_arrow.names
                if self.key not in names or COLUMN not in names:
                    raise ValueError(f"{self.parts[part]} lacks {self.key!r} or {COLUMN!r}")
                column = leaf(file.metadata, self.key)
                for number in range(file.metadata.num_row_groups):
                    group = file.metadata.row_group(number)
                    low, high = bounds(group.column(column))
                    made.append(Group(part, number, first, group.num_rows, low, high))
                    first += group.num_rows
            return [group for group in made if group.rows]

    def entries(self, tell: Tell) -> Iterator[Entry]:
        for group in self.groups:
            for row, key in enumerate(self._keys(group), group.first):
                if key is None:
                    tell(Finding(self.where(Entry("", row)), "key", "the key is null"))
                else:
                    yield Entry(key, row)

    def text(self, entry: Entry) -> bytes:
        group = self.groups[bisect_right(self._firsts, entry.place) - 1]
        with self._lock, boundary(MediaError, "broken"):
            value = self._column(group, COLUMN)[entry.place - group.first].as_py()
        if value is None:
            raise MediaError("type", "the base64 is null")
        if len(value) > MAX_TEXT:
            raise MediaError("bomb", f"a text of {len(value):,} bytes; the limit is {MAX_TEXT:,}")
        return value.encode() if isinstance(value, str) else bytes(value)

    def where(self, entry: Entry) -> str:
        group = self.groups[bisect_right(self._firsts, entry.place) - 1]
        before = next(each.first for each in self.groups if each.part == group.part)
        return f"{self.parts[group.part]}: row {entry.place - before}"

    def count(self) -> int | None:
        return self.groups[-1].first + self.groups[-1].rows if self.groups else 0

    def sorted(self) -> bool:
        return self._sorted

    def find(self, key: str) -> Entry | None:
        at = bisect_right(self._lows, key) - 1
        if at < 0 or key > (self.groups[at].high or ""):
            return None
        keys = self._keys(self.groups[at])
        rows = [row for row, each in enumerate(keys) if each == key]
        return Entry(key, self.groups[at].first + rows[-1]) if rows else None

    def faults(self) -> Iterator[Finding]:
        for part, path in enumerate(self.parts):
            with self._lock:
                schema = self._file(part).schema_arrow
            if self.key not in indices(schema):
                what = f"pandas does not take {self.key!r} for the index: every look-up fails"
                yield Finding(str(path), "pandas-index", what)
            if (size := path.stat().st_size) > MAX_PART:
                yield Finding(str(path), "part-size", f"{size:,} bytes; 2 GB are the most")

    def close(self) -> None:
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()

    @cached_property
    def _firsts(self) -> list[int]:
        return [group.first for group in self.groups]

    @cached_property
    def _lows(self) -> list[str]:
        return [group.low or "" for group in self.groups]

    @cached_property
    def _sorted(self) -> bool:
        bounds = [(group.low, group.high) for group in self.groups]
        known = all(low is not None and high is not None for low, high in bounds)
        return known and all(
            before[1] < after[0]  # type: ignore[operator]
            for before, after in pairwise(bounds)
        )

    def _keys(self, group: Group) -> list[str | None]:
        with self._lock, boundary(MediaError, "broken"):
            keys: list[Any] = self._column(group, self.key).to_pylist()
        return [None if key is None else str(key) for key in keys]

    def _column(self, group: Group, name: str) -> Any:
        found = self._columns.get((group, name))
        if found is None:
            file = self._file(group.part)
            table = file.read_row_group(group.number, columns=[name], use_threads=False)
            found = self._columns[group, name] = table.column(name)
            while len(self._columns) > 1 and self._held() > KEPT_BYTES:
                self._columns.popitem(last=False)
        self._columns.move_to_end((group, name))
        return found

    def _held(self) -> int:
        return sum(column.nbytes for column in self._columns.values())

    def _file(self, part: int) -> pq.ParquetFile:
        file = self._files.get(part)
        if file is None:
            try:
                file = self._files[part] = pq.ParquetFile(self.parts[part])
            except pa.ArrowException as exc:
                raise ValueError(f"{self.parts[part]} is not Parquet: {exc}") from exc
            while len(self._files) > OPEN_FILES:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(part)
        return file


def parts_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    parts = sorted(each for each in path.glob("*.parquet") if each.is_file())
    if not parts:
        raise ValueError(f"{path} is no image store: there are no Parquet files in it")
    return parts


def indices(schema: pa.Schema) -> list[str]:
    """The columns that pandas takes for the index."""
    try:
        listed = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
    except (KeyError, ValueError, TypeError):
        return []
    return [name for name in listed if isinstance(name, str)]


def key_column(schema: pa.Schema, path: Path) -> str:
    if COLUMN not in schema.names:
        raise ValueError(f"{path} is no image store: it has no column {COLUMN!r}")
    for name in (*indices(schema), *KEYS):
        if name in schema.names and name != COLUMN:
            return name
    raise ValueError(f"{path} is no image store: it has no column of keys ({', '.join(KEYS)})")


def leaf(metadata: Any, name: str) -> int:
    """The number of a column among those that are stored."""
    return next(n for n in range(metadata.num_columns) if metadata.schema.column(n).path == name)


def bounds(column: Any) -> tuple[str | None, str | None]:
    """The least and the greatest key of a row group, where its statistics say."""
    found = column.statistics if column.is_stats_set else None
    if found is None or not found.has_min_max or found.null_count:
        return None, None
    low, high = found.min, found.max
    return (low, high) if isinstance(low, str) and isinstance(high, str) else (None, None)
