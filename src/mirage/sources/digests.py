"""Hashes of what a source holds: of files too large to read twice, and of rows that have no bytes.

All are XXH3 with 128 bits: they guard against accidents (a file replaced, a row edited), not
against an attacker.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import orjson
from xxhash import xxh3_128, xxh3_128_digest, xxh3_128_hexdigest

from mirage.places import Place, RemotePath

EDGE = 64 * 1024
PAGE = 4 * 1024
PAGES = 64
WHOLE = 2 * EDGE + PAGES * PAGE


def sample_digest(path: Place) -> str:
    """A hash of a file's size, its first and last 64 KiB, and 64 pages spread evenly between.

    A file of at most 384 KiB is hashed whole. Reading a terabyte of tables only to notice a change
    would cost more than it guards: a Parquet footer (the last bytes) holds the sizes, places and
    statistics of every column, and each record's own digest is compared when it is read. Of an
    object in a store its size and its ETag are hashed: nothing is read.
    """
    if isinstance(path, RemotePath):
        state = path.stat()
        return xxh3_128_hexdigest(f"{state.st_size} {state.st_mtime_ns}".encode())
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        hashed = xxh3_128(size.to_bytes(8))
        if size <= WHOLE:
            hashed.update(file.read())
            return hashed.hexdigest()
        hashed.update(file.read(EDGE))
        step = (size - 2 * EDGE) // PAGES
        for start in range(EDGE, EDGE + PAGES * step, step):
            file.seek(start)
            hashed.update(file.read(PAGE))
        file.seek(size - EDGE)
        hashed.update(file.read(EDGE))
    return hashed.hexdigest()


def range_digest(whole: str, start: int, stop: int) -> str:
    """The digest of rows `start` to `stop` of something whose own digest is `whole`."""
    return xxh3_128_hexdigest(f"{whole}:{start}:{stop}".encode())


def row_digest(values: Mapping[str, Any]) -> bytes:
    """16 bytes for a row of Python values: the hash of its JSON with sorted keys.

    Bytes and images stand in it as hashes of their content (an image: mode, size and pixels).
    """
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    try:
        return xxh3_128_digest(orjson.dumps(values, default=_other, option=options))
    except TypeError:  # integers beyond 64 bits, nesting beyond 254
        return xxh3_128_digest(repr(values).encode("utf-8", "surrogatepass"))


def _other(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return ["bytes", xxh3_128_hexdigest(value)]
    if hasattr(value, "tobytes") and hasattr(value, "size"):
        form = repr(getattr(value, "mode", getattr(value, "dtype", "")))
        return [form, getattr(value, "shape", value.size), xxh3_128_hexdigest(value.tobytes())]
    if isinstance(value, Mapping):
        return dict(value)
    return repr(value)
