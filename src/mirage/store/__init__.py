"""Image stores: images by key, as base64, in one JSON object or in Parquet.

    entries.py    what a store is made of
    store.py      a store that is read
    json_file.py  one flat JSON object (over `scan`, which finds entries on the bytes)
    parquet.py    a Parquet file, or a folder of them (over `pages`, which reads one value out of
                  many, and `thrift`; `frame` is what pandas wants to know)
    index.py      where each key stands, on disk; kept.py: what was used last, in memory
    writer.py     a store that is written
    coding.py     base64

`open_store` and `StoreWriter` are the two ways in.
"""

from __future__ import annotations

from pathlib import Path

from mirage.store.coding import FLAWS, NOTES, unpacked
from mirage.store.entries import Entry, Finding
from mirage.store.store import ImageStore
from mirage.store.writer import StoreWriter

__all__ = [
    "FLAWS",
    "NOTES",
    "Entry",
    "Finding",
    "ImageStore",
    "StoreWriter",
    "open_store",
    "unpacked",
]


def open_store(path: str | Path) -> ImageStore:
    """The image store at a path: a JSON file, a Parquet file, or a folder of Parquet files.

    Raises ValueError where it is none of these, OSError where it cannot be read.
    """
    path = Path(path)
    if path.is_dir() or magic(path) == b"PAR1":
        from mirage.store.parquet import Parquet

        return ImageStore(Parquet(path))
    if magic(path).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] not in (b"{", b""):
        raise ValueError(f"{path} is no image store: neither Parquet nor one JSON object")
    from mirage.store.json_file import JsonFile

    return ImageStore(JsonFile(path))


def magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)
