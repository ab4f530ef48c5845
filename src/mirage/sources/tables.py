"""Parquet files, and the Arrow files that `datasets.save_to_disk` writes.

Spans are in rows. The digest of a span is made of the file's sampled digest and the range of rows:
such files are replaced as a whole, never appended to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from mirage.errors import SourceChangedError, SourceError
from mirage.places import Place, RemotePath
from mirage.record import Span
from mirage.sources import arrow
from mirage.sources.blocks import Bounds
from mirage.sources.digests import range_digest, row_digest, sample_digest
from mirage.sources.files import Piece, Row

SLICE_ROWS = 1_000
SLICE_BYTES = 4 * 1024 * 1024
BUFFER = 1024 * 1024


class Shape(Struct, frozen=True):
    """A file's rows: `groups` are the rows and bytes, uncompressed, of each row group or batch."""

    groups: tuple[tuple[int, int], ...]

    @property
    def width(self) -> int:
        """Bytes per row, at least 1."""
        rows = sum(rows for rows, _ in self.groups)
        return max(1, sum(size for _, size in self.groups) // max(1, rows))


class Tables:
    """Rows of Arrow data, a slice at a time.

    A row group of images is not held whole; the least that is decoded at once is a Parquet page,
    whose size was the writer's choice.
    """

    def __init__(self) -> None:
        self._known: dict[Place, tuple[tuple[int, int], Shape, str]] = {}
        self._read: dict[tuple[Place, int, int], tuple[int, int]] = {}

    def check(self, path: Place) -> None:
        self._look(path)

    def weight(self, path: Place, span: Span) -> int:
        return span.rows * self._look(path)[0].width

    def digest(self, path: Place, span: Span) -> str:
        return range_digest(self._look(path)[1], span.start, span.stop)

    def survey(self, path: Place, after: Span | None, bounds: Bounds) -> Iterator[Piece]:
        shape, whole = self._look(path)
        for start, stop in ranges(shape, after.stop if after else 0, bounds):
            yield Piece(start, stop, start, stop - start, range_digest(whole, start, stop))

    def read(self, path: Place, span: Span) -> Iterator[Row]:
        found = state(path)
        for values, fault in self._rows(path, span):
            yield values, row_digest(values), fault
        self._read[path, span.start, span.stop] = found

    def read_columns(self, path: Place, span: Span, names: frozenset[str]) -> Iterator[Row]:
        before = self._read.pop((path, span.start, span.stop), None)
        if before != state(path):
            yield from self.read(path, span)
            return
        for values, fault in self._rows(path, span, names):
            yield values, b"", fault
        if before != state(path):
            raise SourceChangedError(f"{span.file} changed while it was read")

    def _rows(
        self, path: Place, span: Span, names: frozenset[str] | None = None
    ) -> Iterator[tuple[dict[str, Any], SourceError | None]]:
        done = 0
        width = self._look(path)[0].width
        step = max(1, min(SLICE_ROWS, SLICE_BYTES // width))
        try:
            with closing(opened(path, names)) as file:
                for batch in file.slices(span.start, span.stop, step):
                    for values in arrow.rows(batch):
                        yield values, None
                        done += 1
        except (pa.ArrowException, OSError, UnicodeDecodeError) as exc:
            for row in range(span.row + done, span.row + span.rows):
                message = f"{span.file}: row {row} cannot be read: {exc}"
                yield {}, SourceError("damaged", message)

    def _look(self, path: Place) -> tuple[Shape, str]:
        """The shape and the digest of a file, remembered while size and time stay the same."""
        found = path.stat()
        stamp = (found.st_size, found.st_mtime_ns)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            with closing(opened(path)) as file:
                if len(set(file.names)) < len(file.names):
                    raise ValueError("two of its columns have the same name")
                known = self._known[path] = (stamp, file.shape(), sample_digest(path))
        return known[1], known[2]


def state(path: Place) -> tuple[int, int]:
    """Size and time of last change, as they are now."""
    found = path.look() if isinstance(path, RemotePath) else path.stat()
    return found.st_size, found.st_mtime_ns


def ranges(shape: Shape, start: int, bounds: Bounds) -> Iterator[tuple[int, int]]:
    """Ranges of rows within the bounds, ending with row groups wherever these are small enough."""
    begin = 0
    stop = start
    for rows, size in shape.groups:
        begin, end = begin + rows, begin + rows
        if end <= start:
            continue
        width = max(1, size // max(1, rows))
        step = max(1, min(bounds.rows, bounds.size // width))
        if stop > start and end - start > step:
            yield start, stop
            start = stop
        while end - start > step:
            yield start, start + step
            start += step
        stop = end
    if stop > start:
        yield start, stop


class ParquetRows:
    """A Parquet file, opened for one reading: of all its columns, or of those in `names`."""

    def __init__(self, path: Place, names: frozenset[str] | None = None) -> None:
        self.file = pq.ParquetFile(
            path.raw() if isinstance(path, RemotePath) else path,
            buffer_size=BUFFER,
            pre_buffer=False,
            page_checksum_verification=True,
        )
        self.names: list[str] = self.file.schema_arrow.names
        self.columns = None if names is None else sorted(names)

    def shape(self) -> Shape:
        meta = self.file.metadata
        groups = (meta.row_group(number) for number in range(meta.num_row_groups))
        return Shape(tuple((group.num_rows, group.total_byte_size) for group in groups))

    def slices(self, start: int, stop: int, step: int) -> Iterator[Any]:
        """Batches of at most `step` rows, over `start` to `stop`."""
        chosen: list[int] = []
        first = at = 0
        for number, (rows, _) in enumerate(self.shape().groups):
            if at < stop and at + rows > start:
                first = first if chosen else at
                chosen.append(number)
            at += rows
        at = first
        for batch in self.file.iter_batches(step, row_groups=chosen, columns=self.columns):
            low, high = max(start - at, 0), min(stop - at, len(batch))
            if low < high:
                yield batch.slice(low, high - low)
            at += len(batch)
            if at >= stop:
                return

    def close(self) -> None:
        self.file.close()


class ArrowRows:
    """An Arrow stream or file, mapped into memory: its rows are paged in as they are read."""

    def __init__(self, path: Path, names: frozenset[str] | None = None) -> None:
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

    def close(self) -> None:
        self.map.close()


def opened(path: Place, names: frozenset[str] | None = None) -> ParquetRows | ArrowRows:
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


def saved(folder: Path, split: str | None) -> list[Path]:
    """The Arrow files of a dataset that `save_to_disk` wrote, in order.

    Raises ValueError where `split` does not say which of its splits, or a file is missing.
    """
    splits = folder / "dataset_dict.json"
    if splits.exists():
        names = orjson.loads(splits.read_bytes())["splits"]
        if split is None and len(names) == 1:
            split = names[0]
        if split is None or split not in names:
            given = f"there is no split '{split}'" if split else "say which with `split`"
            raise ValueError(f"{folder} has the splits {', '.join(names)}: {given}")
        folder = folder / Path(split).name
    elif split is not None:
        raise ValueError(f"{folder} has no splits, so that `split: {split}` cannot be read")
    state = orjson.loads((folder / "state.json").read_bytes())
    paths = [folder / Path(entry["filename"]).name for entry in state["_data_files"]]
    if missing := [path for path in paths if not path.is_file()]:
        raise ValueError(f"{missing[0]} is missing")
    return paths
