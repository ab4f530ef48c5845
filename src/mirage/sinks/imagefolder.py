"""ImageFolder: a folder with `metadata.jsonl` and the images that its rows name, in `images/`.

What `load_dataset("imagefolder")` reads: the column `image` is named by `file_name`, a list
`images` by `file_names`, any other column by its own name before that. It takes keys of these names
for files wherever they stand, fails at a list of no images, and at a column without one type: such
rows are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from mirage.errors import SinkError
from mirage.record import Image, PartReport
from mirage.sinks.apart import apart, keys
from mirage.sinks.columns import ConflictError, Types, named, together, widened
from mirage.sinks.dataset import new_folder, refuse_foreign
from mirage.sinks.images import unnamed
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
        types = {name: word for name, word in declared.items() if not word.startswith("image")}
        self.types = named(types, embed=False)
        self.lines = JsonlSink(path / METADATA, folder=False)

    def check(self) -> None:
        refuse_foreign(self.path, OURS)

    def write(
        self, part: Path, rows: Iterable[Mapping[str, Any]], columns: Types | None = None
    ) -> PartReport:
        """Write a part. Rejected: what JSON cannot hold, images that cannot be read, lists of no
        images, keys that would be taken for the names of files, and values that differ in type
        from the first of their column, or from `columns`.
        """
        types = self.types if columns is None else columns
        taken: list[int] = []
        refused: list[tuple[int, SinkError]] = []

        def ready() -> Iterator[Mapping[str, Any]]:
            nonlocal types
            for number, row in enumerate(rows):
                try:
                    made = self.named(row)
                    types = widened(types, made)
                except SinkError as error:
                    refused.append((number, error))
                    continue
                except ConflictError as error:
                    refused.append((number, SinkError("column", str(error))))
                    continue
                taken.append(number)
                yield made

        report = self.lines.write(part, ready())
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

    def columns(self, parts: Sequence[Path]) -> Types:
        """The types that the loader finds over all parts: of two that conflict, the earlier one."""
        types = self.types
        for part in parts:
            types = together(types, types_in(part), settle=True)
        return types

    def fits(self, part: Path, columns: Types | None) -> bool:
        try:
            together(columns or {}, types_in(part))
        except ConflictError:
            return False
        return True

    def publish(self, parts: Sequence[Path], columns: Types | None) -> None:
        with new_folder(self.path, parts, OURS) as new:
            self.lines.join(parts, new / METADATA)


def types_in(part: Path) -> Types:
    """The types of the columns in lines of JSON, which go together."""
    types: Types = {}
    with part.open("rb") as lines:
        for line in lines:
            types = widened(types, orjson.loads(line))
    return types


def named_by(kind: str, column: str) -> str:
    """The key that names the files of a column."""
    key = "file_name" if kind == "image" else "file_names"
    return key if column == kind else f"{column}_{key}"
