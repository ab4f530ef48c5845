"""Rows whose images are kept beside them: each row as JSON can hold it, and the images it showed.

Shared by `webdataset` and `imagefolder`, which both know images as columns, or lists in columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from mirage.errors import MediaError, SinkError
from mirage.media import recognise
from mirage.record import Image

Row = Mapping[str, Any]
Shown = dict[str, Image | list[Image]]


def apart(row: Row) -> tuple[dict[str, Any], Shown]:
    """A row with null, or an empty list, where images stood, and the images of each column.

    Raises SinkError for images that stand deeper, or among other values.
    """
    try:
        values: dict[str, Any] = recognise(dict(row))
    except MediaError as exc:
        raise SinkError("image", exc.message) from exc
    shown: Shown = {}
    for name, value in values.items():
        if isinstance(value, Image):
            shown[name], values[name] = value, None
        elif isinstance(value, list | tuple) and any(isinstance(item, Image) for item in value):
            if not all(isinstance(item, Image) for item in value):
                raise SinkError("image", f"column '{name}' has images among other values")
            shown[name], values[name] = list(value), []
    return values, shown


def deeper(image: Image) -> NoReturn:
    """What becomes of an image that was not taken apart."""
    raise SinkError("image", "an image stands deeper than in a column, or in a column's list")


def keys(value: Any) -> Iterable[str]:
    """All keys of objects, however deep. Raises SinkError for an image among the values."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from keys(item)
    elif isinstance(value, Image):
        deeper(value)
