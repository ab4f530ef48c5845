"""Values into text: strings as they are, images as parts of their own, the rest as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from jinja2 import Undefined

from mirage.errors import TemplateError
from mirage.record import Image, Picture

Piece = str | Image | Picture


class Pieces(tuple[Any, ...]):
    """Text and images in a row, as a macro or a list of images yields them."""

    def __str__(self) -> str:
        raise TemplateError("image", "an image cannot become text")


def as_text(value: Any, label: str = "a value") -> str:
    """`value` inside text: a string as it is, otherwise JSON (`true`, `[{"a": "é"}]`).

    Raises TemplateError of kind "null" for null itself, "image" for an image, and "type" for what
    JSON cannot hold.
    """
    if isinstance(value, (str, Undefined)):
        return str(value)  # raises UndefinedError, except for a condition without `else`
    if value is None:
        raise TemplateError("null", f"{label} is null: give it a default, or test it in Jinja")
    return to_json(value)


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON as Python spaces it, letters beyond ASCII as they are."""
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)
    except (TypeError, ValueError, RecursionError) as exc:
        raise TemplateError("type", f"a value cannot be written as JSON: {exc}") from exc


def _plain(value: Any) -> Any:
    """What `json` cannot hold, in terms that it can."""
    match value:
        case Undefined():
            return str(value)  # raises UndefinedError
        case Image() | Picture() | Pieces():
            raise TemplateError("image", "an image cannot become text")
        case date() | time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case Mapping():
            return dict(value)
        case Iterator() | range() | set() | frozenset():
            return list(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def enter(value: Any, label: str = "a value") -> Any:
    """`value` as it enters a template: text, an image, or `Pieces` of them."""
    if type(value) is str:  # nearly always, and once per piece and record
        return value
    if isinstance(value, (str, Image, Picture, Pieces)):
        return value
    if isinstance(value, (list, tuple)) and value and all(map(_is_image, value)):
        return Pieces(value)
    return as_text(value, label)


def enter_images(value: Any) -> Any:
    """The value of an image variable: none at all where it is null, else as `enter`."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return Pieces(enter(item) for item in value if item is not None)
    return enter(value)


def _is_image(value: Any) -> bool:
    return isinstance(value, (Image, Picture))


def gather(entered: Iterable[Any]) -> Any:
    """What a Jinja block yields: text where it is all text, otherwise `Pieces`."""
    found = list(entered)
    try:
        return "".join(found)
    except TypeError:
        return Pieces(_flat(found))


def merge(entered: Iterable[Any]) -> tuple[Piece, ...]:
    """The parts of a prompt: neighbouring texts made one, empty ones left out."""
    merged: list[Piece] = []
    text: list[str] = []
    for piece in _flat(entered):
        if isinstance(piece, str):
            text.append(piece)
            continue
        if joined := "".join(text):
            merged.append(joined)
        text.clear()
        merged.append(piece)
    if joined := "".join(text):
        merged.append(joined)
    return tuple(merged)


def _flat(pieces: Iterable[Any]) -> Iterator[Piece]:
    for piece in pieces:
        if isinstance(piece, Pieces):
            yield from _flat(piece)
        else:
            yield piece
