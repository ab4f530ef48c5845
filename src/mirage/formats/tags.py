"""Texts with `<image>` tags in them, as LLaVA introduced and most trainers read: parts and back.

A tag is the only thing such a text can say of an image, so that a tag which somebody wrote as text
would count as an image: a sample with one is refused, not misread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirage.errors import SinkError
from mirage.formats.instruction import IMAGE, Part, Turn
from mirage.formats.shape import Reading

TAG = "<image>"


def parts_of(text: str, gap: str = "") -> list[Part]:
    """The parts of a tagged text; one `gap` after a tag belongs to the tag."""
    first, *rest = text.split(TAG)
    parts: list[Part] = [first]
    for piece in rest:
        parts += [IMAGE, piece.removeprefix(gap) if gap else piece]
    return parts


def tagged(turn: Turn, gap: str = "", reserved: tuple[str, ...] = (TAG,)) -> str:
    """The text of a turn, a tag and `gap` for each image.

    Raises SinkError("format") where the text itself holds one of the `reserved` words.
    """
    untagged(turn.text, "a text", reserved)
    return "".join(part if isinstance(part, str) else TAG + gap for part in turn.parts)


def untagged(text: str, what: str, reserved: tuple[str, ...] = (TAG,)) -> str:
    """A text in which no tag may stand. Raises SinkError("format")."""
    for word in reserved:
        if word in text:
            raise SinkError("format", f"{what} holds {word}, which would be read as a tag")
    return text


def no_tag(text: str, what: str, reading: Reading, reserved: tuple[str, ...] = (TAG,)) -> str:
    """The text of an answer, or of a system message, and the rule that it holds no tag."""
    for word in reserved:
        if word in text:
            reading.fault("literal-tag", f"{what} holds {word}")
    return text


def only_images(row: Mapping[str, Any], reading: Reading, *keys: str | None) -> None:
    """The rule that a row shows nothing but images: what stands at the keys is empty."""
    for key in keys:
        if key is not None and row.get(key):
            reading.fault("media", f"'{key}' is not empty: a sample has images, and nothing else")
