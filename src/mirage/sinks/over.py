"""A sink that stands before another one: what such sinks share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from mirage.record import PartReport, Sink


class Over(Struct):
    """Everything as `rows` has it; whoever stands before it says what is otherwise."""

    rows: Sink

    @property
    def suffix(self) -> str:
        return self.rows.suffix

    def check(self) -> None:
        self.rows.check()

    def write(
        self, part: Path, rows: Iterable[Mapping[str, Any]], columns: Any | None = None
    ) -> PartReport:
        return self.rows.write(part, rows, columns)

    def columns(self, parts: Sequence[Path]) -> Any | None:
        return self.rows.columns(parts)

    def fits(self, part: Path, columns: Any | None) -> bool:
        return self.rows.fits(part, columns)

    def publish(self, parts: Sequence[Path], columns: Any | None) -> None:
        self.rows.publish(parts, columns)
