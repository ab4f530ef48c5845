"""JSON: one row, one line, in order, as lines or as an array.

A part is the lines of a block, the dataset all parts. In an array every line ends with a comma, and
brackets come around them when the dataset is published.

orjson writes; it knows nothing of images, hands them to `Gallery`, and is silent about one thing
only: NaN and infinity become `null`, so a line with a null in it is looked at again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct

from mirage import atomic
from mirage.errors import MediaError, SinkError
from mirage.media import recognise
from mirage.record import Image, PartReport
from mirage.sinks.dataset import new_file, new_folder, refuse_folder, refuse_foreign
from mirage.sinks.images import Gallery

OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS
HARMLESS = frozenset({str, int, bool, type(None), Image})


class JsonlSink(Struct):
    """One file, or a folder of such files, one per part. With `root`, rows name the images that
    this sink writes by absolute paths.
    """

    path: Path
    folder: bool
    array: bool = False
    root: str = ""

    @property
    def suffix(self) -> str:
        return ".json" if self.array else ".jsonl"

    @property
    def shards(self) -> str:
        return rf"part-\d{{5,}}\{self.suffix}"

    def check(self) -> None:
        if self.folder:
            refuse_foreign(self.path, self.shards)
        else:
            refuse_folder(self.path)

    def write(
        self, part: Path, rows: Iterable[Mapping[str, Any]], columns: Any | None = None
    ) -> PartReport:
        """Write a part. Rejected: bytes that are no image, NaN, integers beyond 64 bits, keys that
        are no strings, lone surrogates, and images that cannot be read.
        """
        rejected: list[tuple[int, SinkError]] = []
        written = 0
        with atomic.writing(part) as file, Gallery(part, self.root) as gallery:
            for index, row in enumerate(rows):
                try:
                    text = line(row, gallery.claim)
                    file.write(text[:-1] + b",\n" if self.array else text)
                except SinkError as error:
                    gallery.drop()
                    rejected.append((index, error))
                    continue
                gallery.keep()
                written += 1
        return PartReport(written, tuple(rejected))

    def columns(self, parts: Sequence[Path]) -> None:
        """JSON lines have no column types."""

    def fits(self, part: Path, columns: Any | None) -> bool:
        return True

    def publish(self, parts: Sequence[Path], columns: Any | None) -> None:
        if not self.folder:
            with new_file(self.path, parts) as temporary:
                self.join(parts, temporary)
            return
        with new_folder(self.path, parts, self.shards) as new:
            for number, part in enumerate(parts):
                self.join([part], new / f"part-{number:05d}{self.suffix}")
            if not parts:
                self.join([], new / f"part-00000{self.suffix}")

    def join(self, parts: Iterable[Path], target: Path) -> None:
        """Make one file of parts."""
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            if self.array:
                os.write(handle, b"[\n")
            for part in parts:
                atomic.append(part, handle)
            if self.array:
                size = os.fstat(handle).st_size
                os.ftruncate(handle, size - 2 if size > 2 else size - 1)
                os.lseek(handle, 0, os.SEEK_END)
                os.write(handle, b"\n]\n" if size > 2 else b"]\n")
        finally:
            os.close(handle)


def line(row: Mapping[str, Any], claim: Callable[[Image], str]) -> bytes:
    """A row as one line, `claim` saying what stands for an image. Raises SinkError for what JSON
    cannot hold.
    """

    def other(value: Any) -> Any:
        if isinstance(value, Image):
            return claim(value)
        if isinstance(value, Mapping):
            return dict(value)
        raise SinkError("type", f"JSON has no {type(value).__name__}")

    try:
        text = orjson.dumps(row, other, OPTIONS)
    except TypeError:  # bytes of an image that nobody declared, or something that JSON has not
        text = undeclared(row, other)
    if b"null" in text and hides(row.values()):
        raise SinkError("type", "JSON has no NaN and no infinity")
    return text


def undeclared(row: Mapping[str, Any], other: Callable[[Any], Any]) -> bytes:
    """A row as one line, once more, with everything that holds an image's bytes recognised."""
    try:
        return orjson.dumps(recognise(dict(row)), other, OPTIONS)
    except MediaError as exc:
        raise SinkError("image", exc.message) from exc
    except TypeError as exc:
        if isinstance(exc.__cause__, SinkError):
            raise exc.__cause__ from None
        raise SinkError("type", str(exc)) from None


def hides(values: Iterable[Any]) -> bool:
    """Whether a float that is no number stands anywhere among values."""
    for value in values:
        if type(value) in HARMLESS:
            continue
        if isinstance(value, float):
            if not math.isfinite(value):
                return True
        elif isinstance(value, (list, tuple)):
            if hides(value):
                return True
        elif isinstance(value, (dict, Mapping)) and hides(value.values()):
            return True
    return False
