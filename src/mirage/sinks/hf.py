"""The folder that `datasets.load_from_disk` reads: Arrow streams, and two JSON files about them.

Written with pyarrow alone, after `Dataset.save_to_disk` of `datasets` 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import xxhash

from mirage.sinks.columns import features, types_of
from mirage.sinks.dataset import new_folder, refuse_foreign
from mirage.sinks.table import TableSink, Writer

OURS = r"data-\d{5,}-of-\d{5,}\.arrow|state\.json|dataset_info\.json|cache-[\w-]+\.arrow"
"""What may stand in the folder: `datasets` keeps the results of its own `map` there as well."""


class HfSink(TableSink):
    """A dataset folder of Hugging Face, one shard for each part."""

    suffix = ".arrow"

    def check(self) -> None:
        refuse_foreign(self.path, OURS)

    def writer(self, file: Path, schema: pa.Schema) -> AbstractContextManager[Writer]:
        opened: AbstractContextManager[Writer] = pa.ipc.new_stream(str(file), schema)
        return opened

    def tables(self, file: Path) -> Iterator[pa.Table]:
        """One table for each record batch."""
        with pa.memory_map(str(file)) as stream, pa.ipc.open_stream(stream) as batches:
            for batch in batches:
                yield pa.Table.from_batches([batch])

    def schema(self, file: Path) -> pa.Schema:
        with pa.memory_map(str(file)) as stream, pa.ipc.open_stream(stream) as batches:
            return batches.schema

    def publish(self, parts: Sequence[Path], columns: Any | None) -> None:
        schema = self.columns(parts) if columns is None else columns
        with new_folder(self.path, parts, OURS) as new:
            count = len(parts) or 1
            shards = [new / f"data-{at:05d}-of-{count:05d}.arrow" for at in range(count)]
            for at, shard in enumerate(shards):
                self.transcribe(parts[at : at + 1], schema, shard)
            info = {
                "citation": "",
                "description": "",
                "features": features(types_of(schema)),
                "homepage": "",
                "license": "",
            }
            state: dict[str, Any] = {
                "_data_files": [{"filename": shard.name} for shard in shards],
                "_fingerprint": fingerprint(shards),
                "_format_columns": None,
                "_format_kwargs": {},
                "_format_type": None,
                "_output_all_columns": False,
                "_split": None,
            }
            options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
            (new / "dataset_info.json").write_bytes(orjson.dumps(info, option=orjson.OPT_INDENT_2))
            (new / "state.json").write_bytes(orjson.dumps(state, option=options))


def fingerprint(shards: Sequence[Path]) -> str:
    """16 hexadecimal digits that change with the content: `datasets` keeps its caches by them."""
    hashed = xxhash.xxh3_64()
    for shard in shards:
        with shard.open("rb") as file:
            while chunk := file.read(1 << 20):
                hashed.update(chunk)
    return hashed.hexdigest()
