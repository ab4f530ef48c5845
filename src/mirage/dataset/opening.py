"""A dataset opened for what has no configuration: which format it is, and its rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirage.config.data import SourceConfig
from mirage.formats import SHAPES, recognise
from mirage.formats.dataset_info import formatting
from mirage.sources import open_source, peek
from mirage.sources.files import FileSource
from mirage.sources.mimicit_files import datasets

LOOKED_AT = 20


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for what is only looked at: where a dataset lies, nothing need be written."""
    with tempfile.TemporaryDirectory(prefix="mirage-") as folder:
        yield Path(folder)


def opened(source: SourceConfig, base: Path, room: Path, *, bare: bool = True) -> FileSource:
    """The rows of a source, free of what their container wraps around them; `room` is for what
    cannot be read twice. Raises ValueError.
    """
    return open_source(source, base=base, number=0, spool=room / "spool", bare=bare)


def training_format(source: SourceConfig, base: Path, room: Path) -> str | None:
    """The training format of a source: as given, as said beside it, or that of its first rows;
    None where they are rows of another kind. Raises ValueError where nothing can be read.
    """
    if source.format is not None:
        return source.format if source.format in SHAPES else None
    if datasets(base / Path(source.path).expanduser(), asked=False):
        return "mimic-it"
    rows = opened(source, base, room)
    said = {formatting(path) for path in rows.paths}
    if len(said) == 1 and (name := said.pop()) is not None:
        return name
    first = peek(rows, LOOKED_AT)
    return recognise(record.values for record in first if record.fault is None)
