"""What some containers wrap around a row, taken off: the row as it was before it was put there.

A sample of a WebDataset shard is `__key__` and its members; the row is what stands in the `json`,
with the images in the columns that they were taken out of. A row of an ImageFolder names files; the
row has the images instead. A run reads such rows as they are; whoever converts or verifies, and
every training format, reads what is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from mirage.errors import MediaError, SourceError
from mirage.media import locate
from mirage.places import Place
from mirage.record import Image, Span
from mirage.sources.files import Format, Row
from mirage.sources.find import IMAGES
from mirage.sources.images import ImageFile, WithImages, column_of
from mirage.sources.over import Over
from mirage.sources.webdataset import Shards

Values = Mapping[str, Any]
TakeOff = Callable[[Values, int], dict[str, Any]]
"""From a row, and its number in its file, to what is in it. Raises SourceError."""
KEY_DIGITS = 6


def wrapping(rows: Format, *, checked: bool) -> TakeOff | None:
    """How the rows of a format are freed; None where they are as they are. `checked` looks for the
    files of images, which otherwise whoever reads them does.
    """
    match rows:
        case Shards():
            return of_sample
        case WithImages():
            return partial(of_entry, checked=checked)
        case ImageFile():
            return of_file
    return None


class Bare(Over):
    """A format whose rows are freed of their wrapping."""

    take_off: TakeOff

    def read(self, path: Place, span: Span) -> Iterator[Row]:
        for number, (values, digest, fault) in enumerate(self.rows.read(path, span), span.row):
            if fault is None:
                try:
                    values = self.take_off(values, number)
                except SourceError as exc:
                    fault = exc
            yield values, digest, fault


# -- WebDataset ------------------------------------------------------------------------------------


def of_sample(values: Values, number: int) -> dict[str, Any]:
    """The row in the `json` of a sample, its images in their columns, and what members there are
    besides. A key that only counts is no part of it; any other stays, as `__key__`.
    """
    inner = values.get("json")
    found = dict(inner) if isinstance(inner, Mapping) else {}
    filled: set[str] = set()
    for kind, value in sorted(values.items(), key=lambda item: order(item[0])):
        if kind == "__key__" or (kind == "json" and isinstance(inner, Mapping)):
            continue
        if not is_image(kind):
            if kind in found:
                raise SourceError("malformed", f"'{kind:.200}' is a member, and in the json too")
            found[kind] = value
            continue
        image = Image({"bytes": value, "path": f"{values['__key__']}.{kind}"}, value)
        column, listed = slot(kind, found)
        if not listed and column in filled:
            column = kind  # such as a PNG beside a JPEG
        if listed and column in filled:
            found[column].append(image)
        else:
            found[column] = [image] if listed else image
        filled.add(column)
    key = str(values["__key__"])
    return found if counts(key, number) else {"__key__": key, **found}


def counts(key: str, number: int) -> bool:
    """Whether a key says only which sample of its archive this is, as our own sink's keys do."""
    return len(key) >= 2 * KEY_DIGITS and key.isdecimal() and key[KEY_DIGITS:] == f"{number:06}"


def is_image(kind: str) -> bool:
    return f".{kind.rpartition('.')[2]}" in IMAGES


def order(kind: str) -> tuple[bool, str, int]:
    """Images last, those of a list by their numbers."""
    stem, number = split(kind)
    return is_image(kind), stem, number


def split(kind: str) -> tuple[str, int]:
    """The column that a member's name says, if any, and its number in a list; -1 for none."""
    *parts, _ = kind.split(".")
    number = int(parts.pop()) if parts and parts[-1].isdecimal() and len(parts[-1]) < 10 else -1
    return ".".join(parts), number


def slot(kind: str, found: Values) -> tuple[str, bool]:
    """The column that an image belongs to, and whether it is a list."""
    column, number = split(kind)
    if not column:
        known = [name for name in ("image", "images") if name in found]
        column = known[0] if known else "images" if number >= 0 else "image"
    return column, number >= 0 or isinstance(found.get(column), list)


# -- folders of images -----------------------------------------------------------------------------


def of_entry(values: Values, number: int, *, checked: bool) -> dict[str, Any]:
    """A row of metadata with the images themselves in place of the keys that name them."""
    named = {key: column for key in values if (column := column_of(key)) is not None}
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in named:
            column = named[key]
            found[column] = pictured(values.get(column), checked=checked)
        elif key not in named.values():
            found[key] = value
    return found


def of_file(values: Values, number: int) -> dict[str, Any]:
    """An image without metadata; the folder that it is in is its label, as classes are kept."""
    folder = PurePosixPath(values["file_name"]).parent.as_posix()
    label = {} if folder == "." else {"label": folder}
    return {"image": pictured(values["image"], checked=False), **label}


def pictured(path: Any, *, checked: bool) -> Any:
    """The image, or the images, at absolute paths. Raises SourceError for one that is missing."""
    if isinstance(path, list):
        return [pictured(each, checked=checked) for each in path]
    if path is None or not checked:
        return path and Image(path, path=path)
    try:
        return locate(path, None)
    except MediaError as exc:
        raise SourceError(f"image-{exc.kind}", exc.message) from exc
