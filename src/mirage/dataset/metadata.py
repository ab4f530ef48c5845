"""What files of tables say about themselves, held against what `datasets` makes of it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from mirage.sinks.columns import IMAGE, ConflictError, Types, plain, together, types_of

CHUNK = 10 << 20
MAGIC = b"PAR1"


def unlike(path: Path, first: Path) -> Iterator[tuple[str, str]]:
    """The rules that a table breaks, and how: its columns are those of the first file, and its
    images are declared as such in what `datasets` reads features from.
    """
    schema = schema_of(path)
    others = schema_of(first).names
    if sorted(schema.names) != sorted(others):
        ours = ", ".join(sorted({*schema.names} ^ {*others}))
        yield "schema", f"its columns are not those of {first.name}: {ours}"
    features = features_of(path, schema)
    for field in schema:
        if not declared(plain(field.type), features.get(field.name)):
            message = (
                f"'{field.name}' is a plain struct, not an image, for load_dataset: the features "
                "under `huggingface` in the metadata of the schema do not say Image"
            )
            yield "hf-features", message


def schema_of(path: Path) -> pa.Schema:
    with path.open("rb") as file:
        if file.read(4) == MAGIC:
            return pq.read_schema(path)
    with pa.memory_map(str(path)) as mapped:
        try:
            return pa.ipc.open_stream(mapped).schema
        except pa.ArrowInvalid:
            return pa.ipc.open_file(mapped).schema


def features_of(path: Path, schema: pa.Schema) -> Mapping[str, Any]:
    """The features of a saved dataset, which stand beside it, or those in the schema itself."""
    beside = path.parent / "dataset_info.json"
    try:
        if path.suffix == ".arrow" and beside.is_file():
            found = orjson.loads(beside.read_bytes())["features"]
        else:
            found = orjson.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def declared(kind: pa.DataType, feature: Any) -> bool:
    """Whether a feature calls every image of a column one; lists are written in three ways."""
    if kind == IMAGE:
        return isinstance(feature, Mapping) and feature.get("_type") == "Image"
    if pa.types.is_list(kind):
        inner = feature[0] if isinstance(feature, list) and feature else feature
        if isinstance(inner, Mapping) and inner.get("_type") in ("List", "Sequence", "LargeList"):
            inner = inner.get("feature")
        return declared(kind.value_type, inner)
    if pa.types.is_struct(kind):
        inside = feature if isinstance(feature, Mapping) else {}
        return all(declared(field.type, inside.get(field.name)) for field in kind)
    return True


def unread(path: Path) -> str | None:
    """Why `load_dataset("imagefolder")` does not read a `metadata.jsonl`: it reads 10 MB at a time
    with pyarrow, and the types of a column have to agree.
    """
    if path.suffix != ".jsonl":
        return None
    types: Types = {}
    with path.open("rb") as file:
        while lines := file.readlines(CHUNK):
            try:
                options = pyarrow.json.ReadOptions(block_size=2 * CHUNK)
                table = pyarrow.json.read_json(io.BytesIO(b"".join(lines)), read_options=options)
                types = together(types, types_of(table.schema))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ConflictError) as exc:
                return str(exc)
    return None
