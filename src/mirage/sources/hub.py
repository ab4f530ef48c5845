"""Datasets of the Hugging Face hub, streamed and kept in Parquet files as they come.

A stream cannot be read twice cheaply, so each piece is on disk before its first row is processed.
A later run finds the pieces there and goes on behind them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from mirage.errors import RunError
from mirage.places import Place
from mirage.sources.blocks import BOUNDS

SCHEME = "hf://"
FIRST = 256
BATCH = 64
COMPLETE = "complete"


class Hub(Struct, frozen=True):
    """One split of one dataset, and the folder that its pieces go to."""

    name: str
    subset: str | None
    split: str | None
    folder: Path

    def present(self) -> list[Path]:
        """The pieces that are there, in order."""
        return sorted(self.folder.glob("part-*.parquet"))

    def further(self, present: Sequence[Place]) -> Iterator[Path]:
        """Fetch what is missing, piece by piece; the first ones are small, so that work begins.

        Raises RunError where the hub, or the dataset, cannot be read.
        """
        if (self.folder / COMPLETE).exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        number = len(present)
        done = sum(pq.read_metadata(str(path)).num_rows for path in present)
        tables = self._tables(done)
        while True:
            path = self.folder / f"part-{number:06}.parquet"
            rows = min(BOUNDS.rows, FIRST << min(number, 20))
            if not self._write(path, tables, rows):
                break
            yield path
            number += 1
        (self.folder / COMPLETE).touch()

    def _write(self, path: Path, tables: Iterator[Any], most: int) -> int:
        """Write about `most` rows, or what there is, whole or not at all; how many it were."""
        beside = path.with_suffix(".tmp")
        rows = size = 0
        writer = None
        try:
            for table in tables:
                if writer is None:
                    writer = pq.ParquetWriter(beside, table.schema)
                writer.write_table(table.cast(writer.schema))
                rows, size = rows + len(table), size + table.nbytes
                if rows + BATCH > most or size >= BOUNDS.size:
                    break
        finally:
            if writer is not None:
                writer.close()
        if rows:
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(path)
        return rows

    def _tables(self, skip: int) -> Iterator[Any]:
        """The rows behind the first `skip` as Arrow tables: images as they are stored."""
        try:
            stream = self._stream()
            stream = stream.skip(skip) if skip else stream
            yield from stream.with_format("arrow").iter(batch_size=BATCH)
        except (OSError, ValueError, RuntimeError, pa.ArrowException) as exc:
            raise RunError(f"{SCHEME}{self.name} cannot be read: {exc}") from exc

    def _stream(self) -> Any:
        import datasets

        found = datasets.load_dataset(self.name, self.subset, split=self.split, streaming=True)
        if isinstance(found, dict):
            if len(found) != 1:
                splits = ", ".join(map(str, found))
                raise ValueError(f"it has the splits {splits}: say which with `split`")
            found = next(iter(found.values()))
        return undecoded(found)


def undecoded(dataset: Any) -> Any:
    """The dataset with its images as they are stored: their bytes, and their path."""
    import datasets

    images = [
        name for name, kind in (dataset.features or {}).items() if isinstance(kind, datasets.Image)
    ]
    for name in images:
        dataset = dataset.cast_column(name, datasets.Image(decode=False))
    return dataset
