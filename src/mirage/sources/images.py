"""A folder of images, in the layout of Hugging Face's ImageFolder, with or without metadata.

https://huggingface.co/docs/datasets/image_dataset: `metadata.jsonl` (or .csv, .parquet) names the
files in `file_name`, `file_names`, `*_file_name` or `*_file_names`, relative to its own folder.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mirage.errors import SourceError
from mirage.record import Span
from mirage.sources.blocks import Bounds
from mirage.sources.digests import sample_digest
from mirage.sources.files import Piece, Row
from mirage.sources.over import Over


class WithImages(Over):
    """The rows of a metadata file, with the paths of their images as further values.

    `file_name` adds `image`, `file_names` a list `images`, `left_file_name` adds `left`; the named
    columns stay.
    """

    def read(self, path: Path, span: Span) -> Iterator[Row]:
        for values, digest, fault in self.rows.read(path, span):
            if fault is None:
                try:
                    values = with_images(path.parent, values)
                except SourceError as exc:
                    fault = exc
            yield values, digest, fault


def with_images(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, and an absolute path for every file that they name.

    Raises SourceError "outside" for a name that leads out of the folder, "malformed" for none.
    """
    found = dict(values)
    for key, value in values.items():
        column = column_of(key)
        if column is not None and key.endswith("file_name"):
            found[column] = located(folder, value)
        elif column is not None:
            found[column] = [located(folder, name) for name in value or ()]
    return found


def column_of(key: str) -> str | None:
    """The column of images whose files a key names; None for any other key."""
    for name, column in (("file_name", "image"), ("file_names", "images")):
        if key == name:
            return column
        if key.endswith(f"_{name}"):
            return key.removesuffix(f"_{name}")
    return None


def located(folder: Path, name: Any) -> str | None:
    """Where a file lies; symbolic links are followed, since they are the owner's own."""
    if name is None or name == "":
        return None
    if not isinstance(name, str):
        raise SourceError("malformed", f"a file name is wanted, not {name!r:.100}")
    plain = posixpath.normpath(name.replace("\\", "/"))
    if plain.startswith(("../", "/")) or plain in ("..", ".") or "\0" in plain or ":" in plain[:2]:
        raise SourceError("outside", f"'{name:.500}' is not a path below {folder}")
    return str(folder / plain)


class ImageFile:
    """Images without metadata: each file is one row, `image` (its path) and `file_name`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self, path: Path) -> None:
        """Whether it is an image shows when it is looked at."""

    def survey(self, path: Path, after: Span | None, bounds: Bounds) -> Iterator[Piece]:
        if after is None:
            yield Piece(0, path.stat().st_size, 0, 1, sample_digest(path))

    def read(self, path: Path, span: Span) -> Iterator[Row]:
        values = {"image": str(path), "file_name": path.relative_to(self.root).as_posix()}
        yield values, bytes.fromhex(sample_digest(path)), None

    def digest(self, path: Path, span: Span) -> str:
        return sample_digest(path)

    def weight(self, path: Path, span: Span) -> int:
        return span.stop - span.start
