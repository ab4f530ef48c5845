"""A format whose rows are made out of another one's: what such formats share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mirage.record import Span
from mirage.sources.blocks import Bounds
from mirage.sources.files import Format, Piece, Row


@dataclass(slots=True)
class Over:
    """The shared half: files are cut as those of `rows` are. `read` is the other half."""

    rows: Format

    def check(self, path: Path) -> None:
        self.rows.check(path)

    def survey(self, path: Path, after: Span | None, bounds: Bounds) -> Iterator[Piece]:
        return self.rows.survey(path, after, bounds)

    def read(self, path: Path, span: Span) -> Iterator[Row]:
        """The rows of a piece, in order, one for each of the other format's."""
        raise NotImplementedError

    def digest(self, path: Path, span: Span) -> str:
        return self.rows.digest(path, span)

    def weight(self, path: Path, span: Span) -> int:
        return self.rows.weight(path, span)
