"""An image store, written: it appears whole when it is closed, or not at all."""

from __future__ import annotations

import json
import shutil
from array import array
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import xxhash

from mirage import atomic
from mirage.errors import RunError, SinkError
from mirage.store.coding import encoded
from mirage.store.index import scratch

MAX_PART = 1_900_000_000
"""Bytes of strings in a part: below 2 GB on disk, and below what Arrow's offsets reach."""
GROUP = 4 << 20
"""Bytes of strings in a row group, so that a look-up reads little."""
PAGE = 128 << 10
"""Bytes in a page, the least that is read and unpacked."""


class Form(Protocol):
    """What is written into a folder of one's own; `finish` gives the file or folder to publish."""

    def add(self, key: str, text: bytes) -> None: ...

    def finish(self) -> Path: ...

    def discard(self) -> None:
        """Let go of what is open; `finish` has done so already."""
        ...


class StoreWriter:
    """Images in, by key, in the order of arrival.

    The target's suffix says what is written: `.json` is one JSON object, `.parquet` a file, or a
    folder of that name with parts where one part is not enough; without a suffix it is a folder of
    parts. Keys are remembered in a database on disk. Raises ValueError for another suffix, RunError
    where something else stands at the target.
    """

    def __init__(self, target: str | Path, *, part: int = MAX_PART, group: int = GROUP) -> None:
        self.target = Path(target)
        self._stack = ExitStack()
        check(self.target)
        room = self._stack.enter_context(atomic.workspace(self.target.parent))
        self._seen = scratch()
        self._stack.callback(self._seen.close)
        self._seen.execute(
            "CREATE TABLE seen (key TEXT PRIMARY KEY, digest BLOB, place TEXT) WITHOUT ROWID"
        )
        self._seen.execute("BEGIN")
        self._form: Form
        if self.target.suffix.lower() == ".json":
            self._form = JsonForm(room)
        else:
            self._form = ParquetForm(room, part, group, folder=not self.target.suffix)
        self._stack.callback(self._form.discard)

    def add(self, key: str, data: bytes, place: str = "", *, again: bool = False) -> bool:
        """Store the bytes of an image; `place` is where they come from.

        Raises SinkError "duplicate" for a key that is in the store, with both places; with `again`
        that may be, if the bytes are the same: then False says that nothing was stored.
        """
        digest = xxhash.xxh3_128_digest(data)
        try:
            stored = self._seen.execute(
                "INSERT OR IGNORE INTO seen VALUES (?, ?, ?)", (key, digest, place)
            ).rowcount
        except UnicodeEncodeError as exc:
            raise SinkError("key", f"{key!r:.120} is no text: {exc}") from None
        if not stored:
            ask = "SELECT digest, place FROM seen WHERE key = ?"
            same, before = self._seen.execute(ask, (key,)).fetchone()
            if again and same == digest:
                return False
            alike = "the same" if same == digest else "another"
            where = f"; {alike} image came from {before}" if before else f", with {alike} image"
            raise SinkError("duplicate", f"{key!r:.120} is in the store already{where}")
        self._form.add(key, encoded(data))
        return True

    def close(self) -> None:
        """Put the store in its place."""
        with self._stack:
            publish(self._form.finish(), self.target)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._stack.close()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class JsonForm:
    """As `json.dumps` writes a mapping: default separators, no newline at the end."""

    def __init__(self, room: Path) -> None:
        self._path = room / "store.json"
        self._file: BinaryIO = self._path.open("xb", buffering=atomic.CHUNK)
        self._before = b"{"

    def add(self, key: str, text: bytes) -> None:
        self._file.write(b'%b%b: "%b"' % (self._before, json.dumps(key).encode(), text))
        self._before = b", "

    def finish(self) -> Path:
        with self._file:
            self._file.write(b"{}" if self._before == b"{" else b"}")
        return self._path

    def discard(self) -> None:
        self._file.close()


class ParquetForm:
    """Small row groups in parts of limited size, with what pandas and dask want to know.

    A thread packs and writes one row group while the next is collected.
    """

    def __init__(self, room: Path, part: int, group: int, *, folder: bool) -> None:
        self._room = room / "parts"
        self._room.mkdir()
        self._part, self._group, self._folder = part, group, folder
        self._keys: list[str] = []
        self._texts: list[bytes] = []
        self._held = 0
        self._written = 0
        self._writer: Any = None
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        self._paths: list[Path] = []

    def add(self, key: str, text: bytes) -> None:
        size = len(key.encode()) + len(text)
        if size > self._part:
            raise SinkError("size", f"{key!r:.120} has {size:,} bytes; a part holds {self._part:,}")
        if self._written + self._held + size > self._part:
            self._end()
        elif self._held + size > self._group:
            self._flush()
        self._keys.append(key)
        self._texts.append(text)
        self._held += size

    def finish(self) -> Path:
        if not self._paths:
            self._flush()
        self._end()
        self._pool.shutdown()
        return self._paths[0] if len(self._paths) == 1 and not self._folder else self._room

    def _end(self) -> None:
        """End the part."""
        if self._keys:
            self._flush()
        self._wait()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._written = 0

    def discard(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        """Write what was collected as a row group."""
        if self._writer is None:
            self._writer = self._opened()
        self._wait()
        self._pending = self._pool.submit(write, self._writer, self._keys, self._texts)
        self._written += self._held
        self._keys, self._texts, self._held = [], [], 0

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _opened(self) -> Any:
        import pyarrow.parquet as pq

        from mirage.store.frame import INDEX, pandas_schema

        path = self._room / f"part.{len(self._paths):05}.parquet"
        self._paths.append(path)
        return pq.ParquetWriter(
            path,
            pandas_schema(),
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=[INDEX],
            data_page_size=PAGE,
            write_batch_size=1,
        )


def write(writer: Any, keys: list[str], texts: list[bytes]) -> None:
    import pyarrow as pa

    def column(values: list[bytes]) -> Any:
        ends = array("i", accumulate(map(len, values), initial=0))
        buffers = pa.py_buffer(ends), pa.py_buffer(b"".join(values))
        return pa.StringArray.from_buffers(len(values), *buffers)  # pa.array would load pandas

    columns = [column(texts), column([key.encode() for key in keys])]
    table = pa.Table.from_arrays(columns, schema=writer.schema)
    writer.write_table(table, row_group_size=max(1, len(keys)))


def check(target: Path) -> None:
    """Raise RunError where something else than a store stands at the target."""
    suffix = target.suffix.lower()
    if suffix not in (".json", ".parquet", ""):
        raise ValueError(f"{target} is no name for an image store: end it in .json or .parquet")
    if target.is_dir() and any(each.suffix != ".parquet" for each in target.iterdir()):
        raise RunError(f"{target} is a folder with other files in it than Parquet")
    if target.is_dir() if suffix == ".json" else target.is_file() and not suffix:
        raise RunError(f"{target} is something else already")


def publish(made: Path, target: Path) -> None:
    """Put a file or a folder in its place, whichever of them stood there."""
    if made.is_dir() and (target.is_dir() or not target.exists()):
        atomic.replace_folder(made, target)
    elif made.is_file() and not target.is_dir():
        atomic.settle(made, target)
    else:
        aside = atomic.beside(target)
        target.rename(aside)
        made.rename(target)
        shutil.rmtree(aside) if aside.is_dir() else aside.unlink()
