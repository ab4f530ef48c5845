"""ms-swift: messages with `<image>` tags, absolute paths, a rejected answer, grounded objects.

    {"messages": [{"role": "user", "content": "<image>Find the <ref-object>."},
                  {"role": "assistant", "content": "<bbox>"}], "images": ["/data/1.jpg"],
     "objects": {"ref": ["cat"], "bbox": [[10.0, 20.0, 110.0, 220.0]]}}

`<ref-object>` and `<bbox>` in a text stand for the next name and the next box (in pixels), and are
text like any other here.

Shape and rules: docs/source_en/Customization/Custom-dataset.md of
https://github.com/modelscope/ms-swift, `RowPreprocessor` in swift/dataset/preprocessor/core.py, and
in swift/template/base.py `_add_default_tags`, which puts a missing tag before all else,
`_split_special_tokens`, which finds tags in the system message too, and `_replace_image_tags`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from msgspec import Struct

from mirage.errors import SinkError
from mirage.formats.instruction import Instruction, Objects, Role, Turn, turn
from mirage.formats.messages import beside, grounded, identity, objects
from mirage.formats.shape import (
    CONVERSATION,
    Fault,
    Holds,
    Reading,
    Together,
    alternating,
    extras,
    word,
)
from mirage.formats.sharegpt import ALONE, has_texts, message
from mirage.formats.tags import no_tag, only_images, parts_of, tagged, untagged

ROLES: dict[str, Role] = {
    **{"user": "user", "human": "user"},
    **{"assistant": "assistant", "gpt": "assistant", "bot": "assistant"},
}
TOOLS = frozenset({"tool", "tool_call", "tool_response"})
KNOWN = {*ROLES, *TOOLS}
INLINE = re.compile("<img>.+?</img>")
USED = (
    *("id", "messages", "images", "image", "system", "system_prompt"),
    *("rejected_response", "objects"),
)
KEYS = (
    *USED,
    *("conversation", "conversations", "videos", "video", "audios", "audio"),
    *("rejected_messages", "rejected_images"),
)


class Swift:
    """Rows of ms-swift. Messages of one side in a row are one turn, as its template joins them."""

    name = "ms-swift"
    holds = Holds(CONVERSATION | {"id", "system", "rejected", "objects", "meta"}, drawn=True)
    containers = ("jsonl", "json")
    absolute = True
    marks = (frozenset({"messages"}),)
    columns: ClassVar[Mapping[str, str]] = {}

    def claims(self, row: Mapping[str, Any]) -> bool:
        foreign = row.keys() & {*ALONE, "chosen", "rejected"}
        return not foreign and has_texts(row, "messages", "content")

    def together(self) -> Together:
        return Alike()

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        system, turns = conversation(row.get("messages"), reading)
        media = ("videos", "video", "audios", "audio", "rejected_messages", "rejected_images")
        only_images(row, reading, *media)
        further = reading.text(row, "system") or reading.text(row, "system_prompt")
        images = reading.images(row, "images", "image")
        sample = Instruction(
            turns,
            images,
            id=identity(row, reading),
            system=system or no_tag(further, "the system message", reading),
            rejected=rejected(row, reading),
            objects=found_objects(row.get("objects"), reading),
            meta=extras(row, *USED, *media),
        )
        if sample.rejected is not None and turns and turns[-1].parts == (sample.rejected,):
            reading.fault("rejected", "the rejected answer is the answer itself")
        if not images and any(INLINE.search(each.text) for each in turns):
            reading.fault("literal-tag", "a text holds <img>…</img>, which is read as an image")
        told(sample, reading)
        alternating(sample, reading)
        reading.count(sample.slots, len(images))
        return sample

    def write(self, sample: Instruction) -> dict[str, Any]:
        if not sample.images and any(INLINE.search(each.text) for each in sample.turns):
            raise SinkError("format", "a text holds <img>…</img>, which would be read as an image")
        system = untagged(sample.system, "the system message")
        said = [message("system", system)] if system else []
        said += [message(each.role, tagged(each)) for each in sample.turns]
        further: dict[str, Any] = {}
        if sample.rejected is not None:
            further["rejected_response"] = untagged(sample.rejected, "the rejected answer")
            if sample.rejected == said[-1]["content"]:
                raise SinkError("format", "the rejected answer is the answer itself")
            if sample.turns[-1].slots:
                raise SinkError("format", "the answer has images, and the rejected one has not")
        if sample.objects is not None:
            further["objects"] = grounded(sample.objects)
        images = [image for _, image in sample.images]
        row = {"id": sample.id, "messages": said, "images": images}
        return {**row, **further, **beside(sample.meta, KEYS)}


class Alike(Struct):
    """Where some rows have a rejected answer, the others have null for it once they are a table,
    and the loader drops those: all have to be like the first.
    """

    ranked: bool | None = None

    def __call__(self, sample: Instruction) -> Iterator[Fault]:
        ranked = sample.rejected is not None
        self.ranked = ranked if self.ranked is None else self.ranked
        if ranked != self.ranked:
            yield Fault("mixed", "rows without a rejected answer are dropped where others have one")


def conversation(found: Any, reading: Reading) -> tuple[str, tuple[Turn, ...]]:
    """The system message and the turns of a list of messages."""
    if not isinstance(found, list):
        reading.fault("messages", f"'messages' is {word(found)}, not a list")
        return "", ()
    system = ""
    turns: list[Turn] = []
    for number, each in enumerate(found):
        what = f"message {number}"
        if not isinstance(each, Mapping):
            reading.fault("messages", f"{what} is {word(each)}, not an object")
            continue
        role, text = each.get("role"), each.get("content")
        if not isinstance(role, str) or (role not in KNOWN and (role != "system" or number)):
            reading.fault("roles", f"{what} has the role {role!r}")
        elif role in TOOLS:
            reading.fault("tools", f"{what} is a call of a tool: a sample has none")
        elif not isinstance(text, str):
            reading.fault("content", f"{what} has {word(text)} for its content")
        elif role == "system":
            system = no_tag(text, "the system message", reading)
        else:
            parts = parts_of(text)
            if turns and turns[-1].role == ROLES[role]:
                parts = [*turns.pop().parts, *parts]
            turns.append(turn(ROLES[role], *parts))
        if each.keys() & {"loss", "loss_scale"}:
            reading.note("loss", f"{what} says how much it counts, which has no place in a sample")
    return system, tuple(turns)


def rejected(row: Mapping[str, Any], reading: Reading) -> str | None:
    """The rejected answer. Null is none, and the loader drops such a row."""
    if "rejected_response" not in row:
        return None
    if row["rejected_response"] is None:
        reading.fault("rejected", "'rejected_response' is null: leave it out, in all rows")
    return no_tag(reading.text(row, "rejected_response"), "the rejected answer", reading)


def found_objects(found: Any, reading: Reading) -> Objects | None:
    """Names and boxes, in pixels of the first image."""
    if isinstance(found, Mapping):
        if found.get("bbox_type") not in (None, "real"):
            reading.fault("objects", "the boxes are not in pixels: 'bbox_type' is not 'real'")
            return None
        if any(reading.value(found, "image_id", list, [])):
            reading.fault("objects", "boxes are in other images than the first: see 'image_id'")
            return None
    return objects(found, reading)


def told(sample: Instruction, reading: Reading) -> None:
    """A note where names or boxes have no tag, or tags no object: the loader passes over them."""
    if sample.objects is None:
        return
    text = "".join(each.text for each in sample.turns)
    counts = {"<ref-object>": len(sample.objects.names), "<bbox>": len(sample.objects.boxes)}
    for tag, count in counts.items():
        if text.count(tag) != count:
            reading.note("objects", f"{text.count(tag)} {tag} tags for {count}")
