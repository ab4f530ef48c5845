"""Where files are: on this machine, or in a store behind a URL such as `s3://bucket/rows.jsonl`.

    remote.py     a path in such a store, with what sources and sinks ask of a path
    sending.py    files sent to a store, which appear when all of them are there
    opening.py    fsspec: which stores there are, how long they may take, what their errors mean

A path of this machine stays a `pathlib.Path`. fsspec is loaded when a store is first asked.
"""

from __future__ import annotations

import io
from pathlib import Path

from mirage.places.opening import is_remote
from mirage.places.remote import RemotePath

__all__ = ["Place", "RemotePath", "is_remote", "place", "raw", "relative"]

Place = Path | RemotePath


def place(base: Path, name: str | Path) -> Place:
    """The place that a name means; a relative path is taken from `base`.

    Raises ValueError for a URL that is not read, or whose library is missing.
    """
    if isinstance(name, str) and is_remote(name):
        return RemotePath.of(name)
    return base / Path(name).expanduser()


def relative(path: Place, root: Place) -> str:
    """The name of a file below a folder."""
    if isinstance(path, RemotePath):
        return path.relative_to(root).as_posix() if isinstance(root, RemotePath) else str(path)
    return path.relative_to(str(root)).as_posix()


def raw(path: Place) -> io.RawIOBase:
    """A file opened for reading, without a buffer. Raises OSError."""
    return io.FileIO(path) if isinstance(path, Path) else path.raw()
