"""ImageFolder: a folder with `metadata.jsonl` and the images that its rows name, in `images/`.

What `load_dataset("imagefolder")` reads: the column `image` is named by `file_name`, a list
`images` by `file_names`, any other column by its own name before that. It takes keys of these names
for files wherever they stand, and fails at a list of no images: such rows are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mirage.errors import SinkError
from mirage.record import Image, PartReport
from mirage.sinks.apart import apart, keys
from mirage.sinks.dataset import new_folder, refuse_foreign
from mirage.sinks.jsonl import JsonlSink

METADATA = "metadata.jsonl"
OURS = r"metadata\.jsonl"
FILES = ("file_name", "file_names")


class ImagefolderSink:
    """A folder of images with their rows. `declared` says which columns hold images, or lists."""

    suffix = ".jsonl"

    def __init__(self, path: Path, declared: Mapping[str, str]) -> None:
        self.path = path
        self.declared = {"image": "image", "images": "images", **declared}
        self.lines = JsonlSink(path / METADATA, folder=False)

    def check(self) -> None:
        refuse_foreign(self.path, OURS)

    def write(
        self, part: Path, rows: Iterable[Mapping[str, Any]], columns: Any | None = None
    ) -> PartReport:
        """Write a part. Rejected: what JSON cannot hold, images that cannot be read, lists of no
        images, and keys that would be taken for the names of files.
        """
        taken: list[int] = []
        refused: list[tuple[int, SinkError]] = []

        def named() -> Iterator[Mapping[str, Any]]:
            for number, row in enumerate(rows):
                try:
                    ready = self.named(row)
                except SinkError as error:
                    refused.append((number, error))
                    continue
                taken.append(number)
                yield ready

        report = self.lines.write(part, named())
        refused += [(taken[index], error) for index, error in report.rejected]
        return PartReport(report.rows, tuple(sorted(refused, key=lambda each: each[0])))

    def named(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row as `metadata.jsonl` has it: images below the keys that name their files."""
        values, shown = apart(row)
        for key in keys(values):
            if key in FILES or key.endswith(tuple(f"_{name}" for name in FILES)):
                raise SinkError("column", f"'{key:.200}' would be taken for the name of a file")
        found: dict[str, Any] = {}
        for column, value in values.items():
            images = shown.get(column)
            kind = self.declared.get(column)
            if isinstance(images, Image):
                found[named_by("image", column)] = unnamed(images)
            elif images is not None:
                found[named_by("images", column)] = [unnamed(image) for image in images]
            elif kind == "images" and not value:
                raise SinkError("image", f"'{column}' has no images: a list of none is not read")
            elif kind == "image" and value is None:
                found[named_by("image", column)] = None
            else:
                found[column] = value
        return found

    def columns(self, parts: Sequence[Path]) -> None:
        """Lines of JSON have no column types."""

    def fits(self, part: Path, columns: Any | None) -> bool:
        return True

    def publish(self, parts: Sequence[Path], columns: Any | None) -> None:
        with new_folder(self.path, parts, OURS) as new:
            self.lines.join(parts, new / METADATA)


def named_by(kind: str, column: str) -> str:
    """The key that names the files of a column."""
    key = "file_name" if kind == "image" else "file_names"
    return key if column == kind else f"{column}_{key}"


def unnamed(image: Image) -> Image:
    """The image as one that becomes a file, whatever it was called."""
    return Image(None, image.data, image.path, image.member)
