"""What is lost on the way from one format to another: facts that follow from what each holds."""

from __future__ import annotations

from msgspec import Struct

from mirage.formats import shape
from mirage.formats.shape import Holds, Shape

FIELDS = {
    "id": "id",
    "system": "system message",
    "rejected": "rejected answer",
    "related": "related samples",
    "choices": "choices",
    "correct": "correct choice",
    "answers": "further answers",
    "rationales": "rationales",
    "objects": "objects",
    "group": "group",
    "meta": "further columns",
    "ids": "image ids",
}
"""What a sample can do without: fields of `Instruction`, and ids of images; in words."""


class Losses(Struct, frozen=True):
    """What samples of one format may lose in another, and which of them it refuses, in words."""

    lost: tuple[str, ...]
    refused: tuple[str, ...]


def losses(source: str, target: str) -> Losses:
    """What may be lost from one format to another, each by its name. Raises KeyError."""
    mine, theirs = shape(source), shape(target)
    if theirs.holds.needs - mine.holds.fields:
        return Losses((), ("all",))
    gone = [FIELDS[name] for name in FIELDS if has(mine, name) and not has(theirs, name)]
    if theirs.holds.front and not mine.holds.front and has(mine, "images"):
        gone.append("image positions")
    return Losses(tuple(gone), tuple(limits(mine.holds, theirs.holds)))


def has(form: Shape, name: str) -> bool:
    return name in form.holds.fields


def limits(mine: Holds, theirs: Holds) -> list[str]:
    """Which samples of a format another one cannot hold at all."""
    found = [f"without {FIELDS.get(name, name)}" for name in sorted(theirs.needs - mine.needs)]
    if theirs.turns and (not mine.turns or mine.turns > theirs.turns):
        found.append(f"more than {theirs.turns} turns")
    if "images" in mine.fields and "images" not in theirs.fields:
        found.append("images")
    elif theirs.images and (not mine.images or mine.images > theirs.images):
        found.append(f"more than {theirs.images} image" + "s" * (theirs.images > 1))
    if mine.drawn and not theirs.drawn:
        found.append("images in answers")
    return found
