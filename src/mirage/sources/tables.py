"""Parquet files, and the Arrow files that `datasets.save_to_disk` writes.

Spans are in rows. The digest of a span is made of the file's sampled digest and the range of rows:
such files are replaced as a whole, never appended to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from mirage.errors import SourceChangedError, SourceError
from mirage.places import Place, RemotePath
from mirage.record import Span
from mirage.sources import arrow
from mirage.sources.blocks import Bounds
from mirage.sources.digests import range_digest, row_digest, sample_digest
from mirage.sources.files import Piece, Row
from mirage.sources.table_files import Names, Shape, TableFile, opened

SLICE_ROWS = 1_000
SLICE_BYTES = 4 * 1024 * 1024
OPEN = 4
"""How many files are kept in which a reading may go on."""


State = tuple[int, int]
What = tuple[Place, Names, State | None]
"""A file of which these columns are read, as it was when it was opened."""
Open = tuple[What, TableFile]


class Tables:
    """Rows of Arrow data, a slice at a time.

    A row group of images is not held whole; the least that is decoded at once is a Parquet page,
    whose size was the writer's choice.
    """

    def __init__(self) -> None:
        self._known: dict[Place, tuple[State, Shape, str]] = {}
        self._read: dict[tuple[Place, int, int], State] = {}
        self._open: list[Open] = []
        self._lock = threading.Lock()

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
        """Raises SourceChangedError where this is not the file any more that was surveyed."""
        found = state(path)
        self._same(path, span)
        for values, fault in self._rows(path, span, found):
            yield values, row_digest(values), fault
        if found is not None:
            self._read[path, span.start, span.stop] = found

    def read_columns(self, path: Place, span: Span, names: frozenset[str]) -> Iterator[Row]:
        before = self._read.pop((path, span.start, span.stop), None)
        if before is None or before != state(path):
            yield from self.read(path, span)
            return
        for values, fault in self._rows(path, span, before, names):
            # a row that could be read before, and cannot be now, is shown by its digest
            yield values, row_digest(values) if fault else b"", fault
        if before != state(path):
            raise SourceChangedError(f"{span.file} changed while it was read")

    def _same(self, path: Place, span: Span) -> None:
        try:
            if self.digest(path, span) == span.digest:
                return
        except ValueError as exc:
            raise SourceChangedError(f"{span.file} changed: {exc}") from exc
        raise SourceChangedError(f"{span.file} changed while the run was going on")

    def _rows(
        self, path: Place, span: Span, now: State | None, names: Names = None
    ) -> Iterator[tuple[dict[str, Any], SourceError | None]]:
        """Values and faults; `now` is the file's state."""
        done = 0
        width = self._look(path)[0].width
        step = max(1, min(SLICE_ROWS, SLICE_BYTES // width))
        try:
            with self._opened((path, names, now), span) as file:
                for batch in file.slices(span.start, span.stop, step):
                    for values in arrow.rows(batch):
                        yield values, None
                        done += 1
        except (pa.ArrowException, OSError, ValueError) as exc:
            for row in range(span.row + done, span.row + span.rows):
                message = f"{span.file}: row {row} cannot be read: {exc}"
                yield {}, SourceError("damaged", message)

    @contextmanager
    def _opened(self, what: What, span: Span) -> Iterator[TableFile]:
        """A file to read a span from: where it goes on in a row group, one that an earlier reading
        has left open, so that nothing is decoded twice. Readings may go on in several threads.
        """
        path, names, now = what
        with self._lock:
            known = (each for each in self._open if each[0] == what)
            found = next((each for each in known if each[1].leads_to(span.start)), None)
            if found is not None:
                self._open.remove(found)
        file = opened(path, names) if found is None else found[1]
        try:
            yield file
        except BaseException:
            file.close()
            raise
        if now is None or not file.leads_to(span.stop):
            file.close()
            return
        with self._lock:
            self._open.append((what, file))
            oldest = self._open.pop(0) if len(self._open) > OPEN else None
        if oldest is not None:
            oldest[1].close()

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


def state(path: Place) -> State | None:
    """Size and time of last change, as they are now; None where a server does not tell: nothing
    would show that the file has been replaced.
    """
    found = path.look() if isinstance(path, RemotePath) else path.stat()
    if isinstance(path, RemotePath) and not found.st_mtime_ns:
        return None
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
