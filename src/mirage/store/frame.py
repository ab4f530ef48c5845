"""What pandas and dask write into the schema of a frame: which column is the index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

COLUMN = "base64"
INDEX = "__index_level_0__"
KEYS = (INDEX, "__null_dask_index__", "id", "key")


def pandas_schema() -> pa.Schema:
    """The two columns, described as pandas describes a frame whose index are the keys."""
    described = {
        "index_columns": [INDEX],
        "column_indexes": [described_column(None, None) | {"metadata": {"encoding": "UTF-8"}}],
        "columns": [described_column(COLUMN, COLUMN), described_column(None, INDEX)],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    fields = [(COLUMN, pa.string()), (INDEX, pa.string())]
    return pa.schema(fields, metadata={"pandas": json.dumps(described)})


def described_column(name: str | None, field: str | None) -> dict[str, Any]:
    kinds = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    return {"name": name, "field_name": field, **kinds}


def indices(schema: pa.Schema) -> list[str]:
    """The columns that pandas takes for the index."""
    try:
        listed = json.loads((schema.metadata or {})[b"pandas"])["index_columns"]
    except (KeyError, ValueError, TypeError):
        return []
    return [name for name in listed if isinstance(name, str)]


def key_column(schema: pa.Schema, path: Path) -> str:
    """The column of the keys. Raises ValueError where there is none."""
    if COLUMN not in schema.names:
        raise ValueError(f"{path} is no image store: it has no column {COLUMN!r}")
    for name in (*indices(schema), *KEYS):
        if name in schema.names and name != COLUMN:
            return name
    raise ValueError(f"{path} is no image store: it has no column of keys ({', '.join(KEYS)})")
