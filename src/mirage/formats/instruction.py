"""The one neutral sample: what every training format is read into and written from.

A sample is a conversation in typed parts and an ordered list of images. Everything that the formats
add to it (ids, choices, a rejected answer) has one place here; what a format has no place for is
named by `shape.lost`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from mirage.record import Image

Role = Literal["user", "assistant"]


class Slot(Enum):
    """Where an image stands in a turn."""

    IMAGE = "image"


IMAGE = Slot.IMAGE
Part = str | Slot


class Shown(NamedTuple):
    """An image of a sample, and the id that its dataset knows it by; empty where it has none."""

    id: str
    image: Image


class Turn(Struct, frozen=True):
    """What one side says. No text is empty, and no two texts follow each other: see `turn`."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """What is said, images left out."""
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def slots(self) -> int:
        return sum(part is IMAGE for part in self.parts)


def turn(role: Role, *parts: Part) -> Turn:
    """A turn, its texts joined where they follow each other."""
    joined: list[Part] = []
    for part in parts:
        if part == "":
            continue
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return Turn(role, tuple(joined))


class Objects(Struct, frozen=True):
    """Things in an image: `boxes` are (x1, y1, x2, y2) in pixels of the original."""

    names: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...]


class Instruction(Struct, frozen=True):
    """One sample to learn from.

    `turns` alternate, the user's first; the n-th slot among them is the n-th of `images`.
    `rejected` is the answer that a preference sample turns down, in place of the last one.
    `related` are the ids of samples that serve as examples in context. `choices` with `correct`
    (an index) and `answers` (further ones, free in form) belong to a question; `rationales` say
    why. `meta` holds whatever else stood in the row.
    """

    turns: tuple[Turn, ...]
    images: tuple[Shown, ...] = ()
    id: str = ""
    system: str = ""
    rejected: str | None = None
    related: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    correct: int | None = None
    answers: tuple[str, ...] = ()
    rationales: tuple[str, ...] = ()
    objects: Objects | None = None
    group: str = ""
    meta: Mapping[str, Any] = {}

    @property
    def slots(self) -> int:
        return sum(each.slots for each in self.turns)


def in_front(turns: Iterable[Turn], count: int) -> tuple[Turn, ...]:
    """The turns with `count` images before all else that the first of them says."""
    first, *rest = turns
    return turn(first.role, *[IMAGE] * count, *first.parts), *rest
