"""An example as a conversation, and as the training text `simple`.

    <image>User:What is it? GPT:<answer>A cat.<|endofchunk|>User:And its colour? GPT:...

Texts stay as they are; what in them would be read as a tag is a rule that their format has. Shape:
`process_text_formatting` in https://github.com/Luodian/Otter, pipeline/mimicit_utils/
mimicit_dataset.py, except that one image is shown for each tag.
"""

from __future__ import annotations

from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from mirage.formats.instruction import Instruction, Shown, in_front, turn
from mirage.formats.shape import Reading
from mirage.formats.tags import TAG
from mirage.mixture.dataset import Example
from mirage.mixture.declaration import IN_CONTEXT, TEXT_ONLY, VIDEO_TEXT
from mirage.mixture.sampling import spaced

FRAMES = 32


class Text(Struct, frozen=True):
    """A training text, and the images that its tags stand for; a film is one tag and its frames."""

    text: str
    images: tuple[Shown, ...]


def checked(example: Example, reading: Reading) -> None:
    """The rules that an example's group adds: how many images stand for a tag."""
    group, images = example.group, len(example.query.images)
    if group == TEXT_ONLY and images:
        reading.fault("tag-count", f"0 <image> tags for {images} images: the group is {group}")
    elif group == VIDEO_TEXT and not images:
        reading.fault("no-frames", "a film without frames")
    elif group == IN_CONTEXT:
        for each in (*example.related, example.query):
            if len(each.images) != 1:
                count = len(each.images)
                reading.fault("tag-count", f"1 <image> tag for {count} images: {each.id:.120}")
    elif group not in (TEXT_ONLY, VIDEO_TEXT) and images != 1:
        reading.fault("tag-count", f"1 <image> tag for {images} images")


def simple(example: Example, frames: int = FRAMES) -> Text:
    """The text of a sound example."""
    asked, images = (*example.related, example.query), shown(example)
    if example.group == VIDEO_TEXT:
        images = tuple(images[at] for at in spaced(len(images), frames))
    text = "".join(
        f"{tag(example.group, at)}User:{question.text} GPT:<answer>{answer.text}<|endofchunk|>"
        for at, each in enumerate(asked)
        for question, answer in zip(each.turns[::2], each.turns[1::2], strict=True)
    )
    return Text(f"{example.description}\n{text}" if example.description else text, images)


def shown(example: Example) -> tuple[Shown, ...]:
    """The images of an example: in context those of every question, otherwise the query's."""
    if example.group != IN_CONTEXT:
        return () if example.group == TEXT_ONLY else example.query.images
    asked = (*example.related, example.query)
    return tuple(chain.from_iterable(each.images for each in asked))


def tag(group: str, at: int) -> str:
    return TAG if group == IN_CONTEXT or (at == 0 and group != TEXT_ONLY) else ""


def conversation(example: Example) -> Instruction:
    """The example as one sample: the related questions and answers, then its own.

    In context each question shows its images; otherwise those of the query stand before the first.
    The description of the task becomes the system message.
    """
    images, asked = shown(example), (*example.related, example.query)
    turns = tuple(chain.from_iterable(each.turns for each in asked))
    if example.group != IN_CONTEXT:
        turns = in_front([turn(each.role, each.text) for each in turns], len(images))
    return replace(
        example.query,
        turns=turns,
        images=images,
        related=(),
        system=example.description,
        group=example.group,
    )
