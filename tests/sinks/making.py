"""What the tests of all sinks share: ways to open one, to make parts, and to look at folders."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from mirage.config.data import SinkConfig
from mirage.record import Image, PartReport, Sink
from mirage.sinks import open_sink

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(100))

Row = Mapping[str, Any]


def sink(base: Path, path: str, *, declared: Mapping[str, str] | None = None, **keys: Any) -> Sink:
    return open_sink(SinkConfig(path=path, **keys), base=base, declared=declared or {})


def drawn(shade: int) -> bytes:
    """A PNG that decodes, one for each shade."""
    buffer = io.BytesIO()
    Pillow.new("RGB", (3, 2), (shade, 7, 9)).save(buffer, "PNG")
    return buffer.getvalue()


def image(data: bytes = PNG, given: Any = None) -> Image:
    return Image(given=data if given is None else given, data=data)


def write(to: Sink, base: Path, *blocks: Iterable[Row]) -> tuple[list[Path], list[PartReport]]:
    """Parts of the blocks, laid out as in a run's folder."""
    parts = [base / "run" / f"{at:06d}" / f"part{to.suffix}" for at in range(len(blocks))]
    return parts, [to.write(part, iter(rows)) for part, rows in zip(parts, blocks, strict=True)]


def publish(to: Sink, base: Path, *blocks: Iterable[Row]) -> list[PartReport]:
    """What a run does to a sink: parts, types, misfitting parts again, dataset."""
    parts, reports = write(to, base, *blocks)
    columns = to.columns(parts)
    for at, part in enumerate(parts):
        if not to.fits(part, columns):
            reports[at] = to.write(part, iter(blocks[at]), columns)
            assert to.fits(part, columns)
    to.publish(parts, columns)
    return reports


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their relative paths."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(found)}


def errors(report: PartReport) -> dict[int, str]:
    return {index: error.message for index, error in report.rejected}
