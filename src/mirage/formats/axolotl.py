"""Axolotl: messages whose image parts say themselves where their image is.

    {"messages": [
        {"role": "user", "content": [
            {"type": "image", "path": "/data/1.jpg"}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}]}

Shape and rules: https://docs.axolotl.ai/docs/multimodal.html, `ProcessingStrategy.__call__` in
src/axolotl/processing_strategies.py, and `apply_chat_template` of transformers, which loads an
image for every one of these keys. Other paths than absolute ones are resolved from the folder that
axolotl is started in, so that absolute ones are written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, ClassVar

from mirage.formats.instruction import Instruction, Shown
from mirage.formats.messages import beside, conversation, identity, messages, text_part
from mirage.formats.shape import CONVERSATION, Holds, Reading, alternating, extras, word
from mirage.formats.tags import no_tag
from mirage.formats.trl import readable

SOURCES = ("image", "url", "path", "base64")
KEYS = ("id", "messages", "images", "image")


class Axolotl:
    """Rows of axolotl. Of a column of images beside the messages it takes one: such rows, which
    fill a bare part or follow the first question, are read as well.
    """

    name = "axolotl"
    holds = Holds(CONVERSATION | {"id", "system", "meta"}, drawn=True)
    containers = ("jsonl", "json")
    absolute = True
    marks = (frozenset({"messages"}),)
    columns: ClassVar[Mapping[str, str]] = {}

    def claims(self, row: Mapping[str, Any]) -> bool:
        return any(part.get("type") == "image" and given(part) for part in parts_of(row))

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        row = filled(row, reading)
        for part in parts_of(row):
            if isinstance(part.get("text"), str):
                no_tag(part["text"], "a text", reading)
        values = [value_of(part, reading) for part in parts_of(row) if part.get("type") == "image"]
        images = [reading.image(value) for value in values if value is not None]
        system, turns = conversation(row.get("messages"), reading)
        sample = Instruction(
            turns,
            tuple(Shown("", image) for image in images if image is not None),
            id=identity(row, reading),
            system=system,
            meta=extras(row, *KEYS),
        )
        alternating(sample, reading)
        return sample

    def write(self, sample: Instruction) -> dict[str, Any]:
        readable(sample)
        said, images = messages(sample), iter(sample.images)
        for part in parts_of({"messages": said}):
            if part["type"] == "image":
                part["path"] = next(images).image
        return {"id": sample.id, "messages": said, **beside(sample.meta, KEYS)}


def parts_of(row: Mapping[str, Any]) -> Iterator[Any]:
    """The parts of all messages, in order; a plain content is one, as axolotl has it."""
    found = row.get("messages")
    for message in found if isinstance(found, list) else ():
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, str):
            yield {"type": "text", "text": content}
        for part in content if isinstance(content, list) else ():
            if isinstance(part, Mapping):
                yield part


def given(part: Mapping[str, Any]) -> list[str]:
    """The keys at which an image part names an image; null names none."""
    return [key for key in SOURCES if part.get(key) is not None]


def value_of(part: Mapping[str, Any], reading: Reading) -> Any:
    """What an image part stands for."""
    keys = given(part)
    if len(keys) != 1:
        named = f"the keys {', '.join(keys)}" if keys else f"none of the keys {', '.join(SOURCES)}"
        reading.fault("image-keys", f"an image part has {named}, where it has one")
        return None
    value = part[keys[0]]
    if keys[0] == "base64" and isinstance(value, str) and value[:5] != "data:":
        return f"data:;base64,{value}"
    if keys[0] == "path" and isinstance(value, str) and not os.path.isabs(value):  # noqa: PTH117
        reading.note("image-relative", f"{value} counts from the folder axolotl is started in")
    return value


def filled(row: Mapping[str, Any], reading: Reading) -> Mapping[str, Any]:
    """The row with the image of its column in the place that axolotl gives it."""
    key = "images" if "images" in row else "image"
    found = row.get(key)
    if found is None:
        return row
    if not isinstance(found, list) or len(found) != 1:
        what = f"{len(found)} images" if isinstance(found, list) else word(found)
        reading.fault("images", f"'{key}' is {what}: axolotl takes the first of a list, no more")
        return row
    said = deepcopy(row.get("messages"))
    row = {**row, "messages": said}
    bare = [part for part in parts_of(row) if part.get("type") == "image" and not given(part)]
    if bare:
        bare[-1]["image"] = found[0]
        return row
    for message in said if isinstance(said, list) else ():
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            parts = [text_part(content)] if isinstance(content, str) else list(content or ())
            message["content"] = [*parts, {"type": "image", "image": found[0]}]
            break
    return row
