"""What a format asks of a dataset as a whole, in a sink before the one that keeps the rows.

LLaMA-Factory finds a dataset by its entry in `dataset_info.json` beside it. The description is read
again when the dataset is published, and replaced in one step after it; whatever else stands in it
is kept. ms-swift drops rows without a rejected answer where others have one: such a dataset is
refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from mirage import atomic
from mirage.errors import RunError
from mirage.formats.dataset_info import NAME, Described, Info, load, updated
from mirage.sinks.over import Over


class AlikeSink(Over):
    """Rows of which all have a column, or none has. Raises RunError for others, at the end."""

    column: str

    def publish(self, parts: Sequence[Path], columns: Any | None) -> None:
        if len({*kinds(parts, self.column)}) > 1:
            raise RunError(
                f"some rows have '{self.column}' and some have not: those without would be dropped "
                "when the dataset is loaded; write the two to files of their own"
            )
        self.rows.publish(parts, columns)


class DescribedSink(AlikeSink):
    """Rows in one file of JSON, and what LLaMA-Factory has to know of it."""

    shape: Described
    path: Path

    def check(self) -> None:
        """Raises RunError also where the description could not be added to."""
        self.rows.check()
        if self.path.name == NAME:
            raise RunError(f"{NAME} describes the dataset: choose another name for the rows")
        for kinds in ({False}, {True}, {False, True}):
            self.info(kinds)

    def publish(self, parts: Sequence[Path], columns: Any | None) -> None:
        seen = {*kinds(parts, self.column)}
        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        with atomic.alone(self.path.parent):  # or another dataset's entry might be written over
            info = self.info(seen)
            self.rows.publish(parts, columns)
            atomic.write_bytes(self.path.with_name(NAME), orjson.dumps(info, option=options))

    def info(self, kinds: Iterable[bool]) -> Info:
        try:
            return updated(load(self.path.parent), self.shape, self.path.name, kinds)
        except ValueError as exc:
            raise RunError(str(exc)) from exc


def kinds(parts: Iterable[Path], column: str) -> Iterator[bool]:
    """Which kinds of rows there are: True is one with the column."""
    seen: set[bool] = set()
    key = f'"{column}":'.encode()
    for part in parts:
        with part.open("rb") as lines:
            for line in lines:
                # A quote within a text is written with a backslash: this can only be a key.
                has = key in line and column in orjson.loads(line.rstrip(b",\n"))
                if has not in seen:
                    seen.add(has)
                    yield has
                if len(seen) == 2:
                    return
