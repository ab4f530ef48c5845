"""Parquet: one file of row groups, or a folder of shards. Images are bytes that stay as they are.

Blobs are neither compressed again nor given statistics or dictionaries: they would only cost time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mirage import atomic
from mirage.sinks.columns import leaves
from mirage.sinks.dataset import new_file, new_folder, refuse_folder, refuse_foreign
from mirage.sinks.table import TableSink, Writer

SHARDS = r"part-\d{5,}-of-\d{5,}\.parquet"


class ParquetSink(TableSink):
    """One Parquet file, or a folder with one for each part."""

    suffix = ".parquet"

    def __init__(
        self, path: Path, folder: bool, declared: Mapping[str, str], *, embed: bool
    ) -> None:
        super().__init__(path, declared, embed=embed)
        self.folder = folder

    def check(self) -> None:
        if self.folder:
            refuse_foreign(self.path, SHARDS)
        else:
            refuse_folder(self.path)

    def writer(self, file: Path, schema: pa.Schema) -> AbstractContextManager[Writer]:
        paths = [leaf for field in schema for leaf in leaves(field.type, field.name)]
        texts = [path for path, kind in paths if not pa.types.is_binary(kind)]
        opened: AbstractContextManager[Writer] = pq.ParquetWriter(
            file,
            schema,
            compression={path: "zstd" if path in texts else "none" for path, _ in paths},
            use_dictionary=texts,
            write_statistics=texts,
        )
        return opened

    def tables(self, file: Path) -> Iterator[pa.Table]:
        """One table for each row group."""
        with pq.ParquetFile(file) as opened:
            for group in range(opened.num_row_groups):
                yield opened.read_row_group(group)

    def schema(self, file: Path) -> pa.Schema:
        return pq.read_schema(file)

    def publish(self, parts: Sequence[Path], columns: Any | None) -> None:
        schema = self.columns(parts) if columns is None else columns
        if not self.folder:
            with new_file(self.path, parts) as temporary:
                self.transcribe(parts, schema, temporary)
            return
        with new_folder(self.path, parts, SHARDS) as new:
            count = len(parts) or 1
            shards = [new / f"part-{at:05d}-of-{count:05d}.parquet" for at in range(count)]
            if not parts:
                self.transcribe([], schema, shards[0])
            for part, shard in zip(parts, shards, strict=False):
                if self.schema(part).equals(schema, check_metadata=True):
                    atomic.copy(part, shard)
                else:
                    self.transcribe([part], schema, shard)
