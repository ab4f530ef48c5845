"""Stores to be read: images of random bytes, and stores written by others."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

HEADS = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"


def images(count: int, size: int = 300, name: str = "TOY_IMG_{:06}") -> dict[str, bytes]:
    """Bytes that begin as images do, the same each time."""
    grain = random.Random(0)
    return {
        name.format(n): HEADS[n % 2] + grain.randbytes(grain.randrange(size)) for n in range(count)
    }


def texts(of: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(data).decode() for key, data in of.items()}


def json_file(path: Path, of: Mapping[str, bytes]) -> Path:
    path.write_text(json.dumps(texts(of)))
    return path


def parquet_file(path: Path, keys: Iterable[Any], texts: Iterable[Any], **options: Any) -> Path:
    """A table with a plain column `id`."""
    table = pa.table({"id": list(keys), "base64": list(texts)})
    pq.write_table(table, path, **options)
    return path
