"""A format whose rows are made out of another one's: what such formats share."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from mirage.places import Place
from mirage.record import Span
from mirage.sources.blocks import Bounds
from mirage.sources.files import Format, Piece, Row


class Over(Struct):
    """The shared half: files are cut as those of `rows` are. `read` is the other half."""

    rows: Format

    def check(self, path: Place) -> None:
        self.rows.check(path)

    def survey(self, path: Place, after: Span | None, bounds: Bounds) -> Iterator[Piece]:
        return self.rows.survey(path, after, bounds)

    def read(self, path: Place, span: Span) -> Iterator[Row]:
        """The rows of a piece, in order, one for each of the other format's."""
        raise NotImplementedError

    def digest(self, path: Place, span: Span) -> str:
        return self.rows.digest(path, span)

    def weight(self, path: Place, span: Span) -> int:
        return self.rows.weight(path, span)
