"""Samples of every kind that a format can hold, and what makes two of them equal."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image as Pillow

from mirage.formats.instruction import IMAGE, Instruction, Objects, Part, Role, Shown, turn
from mirage.formats.shape import Holds
from mirage.media import sniff
from mirage.record import Image


def png(shade: int, size: tuple[int, int] = (3, 2)) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", size, (shade % 256, 7, 9)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [Image(given=None, data=png(shade)) for shade in (0, 90, 200)]
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
TEXTS = st.one_of(
    WORDS,
    st.sampled_from(["\n", " \n What? ", "2 < 3 & <b>", "画像は何?", "a\nb\n", '"{}"', "image>"]),
)
SAID = TEXTS.filter(lambda text: text != "")
KEYS = st.text("abcdefgh_", min_size=4, max_size=8).map("x_".__add__)
VALUES = st.one_of(st.integers(-(2**53), 2**53), st.booleans(), WORDS, st.lists(WORDS, max_size=2))
NUMBERS = st.integers(0, 4000).map(float)
IDS = st.text("abc019_-", min_size=1, max_size=8)
BOXES = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@st.composite
def samples(draw: st.DrawFn, holds: Holds) -> Instruction:
    """A sample with as many turns and images as a format can hold, and every other field."""
    pairs = draw(st.integers(1, (holds.turns or 6) // 2))
    most = holds.images or (3 if "images" in holds.fields else 0)
    left = draw(st.integers(1 if "images" in holds.needs else 0, most))
    pictures = [draw(st.sampled_from(PICTURES)) for _ in range(left)]
    turns = []
    for number in range(2 * pairs):
        role: Role = "assistant" if number % 2 else "user"
        parts: list[Part] = [draw(SAID)]
        if role == "user" or (holds.drawn and left and draw(st.booleans())):
            here = left if number == 2 * pairs - 2 or holds.front else draw(st.integers(0, left))
            left -= here
            for _ in range(here):
                at = 0 if holds.front else draw(st.integers(0, len(parts)))
                parts.insert(at, IMAGE)
        turns.append(turn(role, *parts))
    choices = draw(st.lists(SAID, min_size=2, max_size=4, unique=True))
    correct: int | None = draw(st.integers(0, len(choices) - 1))
    if "choices" in holds.needs:
        turns[-1] = turn("assistant", choices[correct or 0])
    elif draw(st.booleans()):
        choices, correct = [], None
    return Instruction(
        tuple(turns),
        tuple(Shown(f"IMG_{at}", picture) for at, picture in enumerate(pictures)),
        id=draw(IDS if "id" in holds.needs else st.just("") | IDS),
        system=draw(TEXTS),
        rejected=draw(SAID if "rejected" in holds.needs else st.none() | SAID),
        related=tuple(draw(st.lists(st.sampled_from(["i1", "i2"]), max_size=2, unique=True))),
        choices=tuple(choices),
        correct=correct,
        answers=tuple(draw(st.lists(SAID, max_size=2))),
        rationales=tuple(draw(st.lists(SAID, max_size=2))),
        objects=draw(st.none() | st.builds(objects, st.lists(st.tuples(SAID, BOXES), max_size=2))),
        group=draw(st.sampled_from(["", "IMAGE_TEXT"])),
        meta=draw(st.dictionaries(KEYS, VALUES, max_size=2)),
    )


def common(first: Holds, second: Holds) -> Holds:
    """What samples are like that one format holds and another does not refuse for what they are."""

    def least(one: int, other: int) -> int:
        return min(one, other) if one and other else one or other

    return replace(
        first,
        turns=least(first.turns, second.turns),
        images=least(first.images, second.images),
        drawn=first.drawn and second.drawn,
        needs=first.needs | second.needs,
    )


def objects(found: list[tuple[str, tuple[float, float, float, float]]]) -> Objects:
    return Objects(tuple(name for name, _ in found), tuple(box for _, box in found))


def comparable(sample: Instruction) -> Any:
    """A sample with the bytes of its images in place of how they are kept."""
    seen = tuple((id, image.read()) for id, image in sample.images)
    assert all(sniff(data) for _, data in seen)
    return replace(sample, images=(), meta={}), seen, plain(sample.meta)


def plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
