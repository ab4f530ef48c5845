"""A table that is open: a Parquet file, or the Arrow file of a dataset that was saved to disk."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from mirage.places import Place, RemotePath

BUFFER = 1024 * 1024
Names = frozenset[str] | None


class Shape(Struct, frozen=True):
    """A file's rows: `groups` are the rows and bytes, uncompressed, of each row group or batch."""

    groups: tuple[tuple[int, int], ...]

    @property
    def width(self) -> int:
        """Bytes per row, at least 1."""
        rows = sum(rows for rows, _ in self.groups)
        return max(1, sum(size for _, size in self.groups) // max(1, rows))


class TableFile(Protocol):
    """Rows by their number, of all columns of a file or of some."""

    names: list[str]

    def shape(self) -> Shape: ...

    def slices(self, start: int, stop: int, step: int) -> Iterator[Any]:
        """Batches of at most `step` rows, over `start` to `stop`."""
        ...

    def leads_to(self, row: int) -> bool:
        """Whether a row is reached sooner than in a file that is opened anew."""
        ...

    def close(self) -> None: ...


class ParquetRows:
    """A Parquet file. Inside a row group nobody can jump: where rows are asked for that follow the
    last ones, reading goes on, and any others are reached from the beginning of their row group.

    `_at` is the row that comes next, the first of `_left`, which was decoded and not asked for.
    """

    def __init__(self, path: Place, names: Names = None) -> None:
        self.file = pq.ParquetFile(
            path.raw() if isinstance(path, RemotePath) else path,
            buffer_size=BUFFER,
            pre_buffer=False,
            page_checksum_verification=True,
        )
        self.names: list[str] = self.file.schema_arrow.names
        self._columns = None if names is None else sorted(names)
        sizes = (rows for rows, _ in self.shape().groups)
        self._bounds = [0, *accumulate(sizes)]  # of the row groups
        self._at = self._end = 0
        self._batches: Iterator[Any] = iter(())
        self._left: Any = None

    def shape(self) -> Shape:
        meta = self.file.metadata
        groups = (meta.row_group(number) for number in range(meta.num_row_groups))
        return Shape(tuple((group.num_rows, group.total_byte_size) for group in groups))

    def slices(self, start: int, stop: int, step: int) -> Iterator[Any]:
        """Raises OSError where the file holds no such rows."""
        while start < stop:
            if not self.leads_to(start):
                self._begin(start, stop, step)
            batch = next(self._batches, None) if self._left is None else self._left
            if batch is None:
                raise OSError(f"there is no row {start}")
            low, high = max(start - self._at, 0), min(stop - self._at, len(batch))
            self._left = batch.slice(high) if high < len(batch) else None
            self._at += high
            if low < high:
                start = self._at
                yield batch.slice(low, high - low)

    def leads_to(self, row: int) -> bool:
        return self._bounds[self._group(row)] <= self._at <= row < self._end

    def _group(self, row: int) -> int:
        return bisect_right(self._bounds, row) - 1

    def _begin(self, start: int, stop: int, step: int) -> None:
        """Read the row groups of these rows from their beginning: the first alone where it is
        entered in the middle, so that batches end where they do in a reading that goes on.
        """
        group, end = self._group(start), min(bisect_left(self._bounds, stop), len(self._bounds) - 1)
        if start > self._bounds[group]:
            end = min(end, group + 1)
        self._at, self._end = self._bounds[group], self._bounds[end]
        groups = list(range(group, end))
        self._batches = self.file.iter_batches(step, row_groups=groups, columns=self._columns)
        self._left = None

    def close(self) -> None:
        self.file.close()


class ArrowRows:
    """An Arrow stream or file, mapped into memory: its rows are paged in as they are read."""

    def __init__(self, path: Path, names: Names = None) -> None:
        self.map = pa.memory_map(str(path))
        try:
            self.table = pa.ipc.open_stream(self.map).read_all()
        except pa.ArrowInvalid:
            self.table = pa.ipc.open_file(self.map).read_all()
        self.names: list[str] = self.table.column_names
        if names is not None:
            self.table = self.table.select([name for name in self.names if name in names])

    def shape(self) -> Shape:
        return Shape(tuple((len(batch), batch.nbytes) for batch in self.table.to_batches()))

    def slices(self, start: int, stop: int, step: int) -> Iterator[Any]:
        for at in range(start, stop, step):
            yield self.table.slice(at, min(step, stop - at))

    def leads_to(self, row: int) -> bool:
        return True

    def close(self) -> None:
        self.map.close()


def opened(path: Place, names: Names = None) -> TableFile:
    """A table file by its first bytes; of its columns all, or those in `names`.

    Raises ValueError where it is damaged, or something else.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    try:
        if isinstance(path, RemotePath) or magic == b"PAR1":
            return ParquetRows(path, names)
        return ArrowRows(path, names)
    except pa.ArrowException as exc:
        raise ValueError(f"this is no readable Parquet or Arrow file: {exc}") from exc
