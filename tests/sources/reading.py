"""What the tests of sources share: opening one on a folder, and reading all of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mirage.config.data import SourceConfig
from mirage.record import Record
from mirage.sources import BOUNDS, Block, Bounds, Readable, blocks, open_source


def opened(folder: Path, path: str, **keys: Any) -> Readable:
    config = SourceConfig(path=path, **keys)
    return open_source(config, base=folder, number=0, spool=folder / ".spool")


def read(
    source: Readable, stored: Sequence[Block] = (), bounds: Bounds = BOUNDS
) -> tuple[list[Block], list[Record]]:
    """The blocks that are not stored yet, and the records in them; each span keeps its promises."""
    found = list(blocks(source, stored, bounds))
    records: list[Record] = []
    for block in found:
        for span in block.spans:
            part = list(source.read(span))
            assert len(part) == span.rows
            assert source.intact(span)
            records += part
    return found, records


def rows(folder: Path, path: str, **keys: Any) -> list[dict[str, Any]]:
    """The values of all records; none may be faulty."""
    _, records = read(opened(folder, path, **keys))
    assert [str(record.fault) for record in records if record.fault] == []
    return [dict(record.values) for record in records]
