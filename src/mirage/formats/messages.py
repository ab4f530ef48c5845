"""The neutral row: messages of typed parts, an ordered list of images, and one key for each further
field of a sample.

    {"id": "1", "images": [...], "messages": [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}]}

It holds whatever an `Instruction` does, further columns below `meta`. A source of any training
format gives such rows, and a sink of any training format takes them. Message and image columns are
those that TRL reads (https://huggingface.co/docs/trl/dataset_formats).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from mirage.errors import SinkError
from mirage.formats.instruction import (
    IMAGE,
    Instruction,
    Objects,
    Part,
    Role,
    Shown,
    Turn,
    turn,
)
from mirage.formats.shape import ALL, Holds, Reading, alternating, extras, marked, word

CALLS = ("tool_calls", "tool_call_id", "function_call")
ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant"}
KEYS = (
    *("id", "messages", "images", "image_ids", "system", "rejected", "related", "choices"),
    *("correct", "answers", "rationales", "objects", "group", "meta"),
)


class Messages:
    """Rows in the neutral form. A content may also be a plain text, and `image` be one image."""

    name = "messages"
    holds = Holds(ALL | {"ids"}, drawn=True)
    containers = ("jsonl", "json", "parquet", "hf", "webdataset", "imagefolder")
    absolute = False
    marks = (frozenset({"messages"}),)
    columns: ClassVar[Mapping[str, str]] = {"images": "images"}

    def claims(self, row: Mapping[str, Any]) -> bool:
        return marked(row, self.marks)

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        system, turns = conversation(row.get("messages"), reading)
        images = reading.images(row, "images", "image")
        ids = reading.texts(row, "image_ids")
        if ids and len(ids) != len(images):
            reading.fault("image-ids", f"{len(ids)} ids for {len(images)} images")
        elif ids:
            images = tuple(Shown(id, each) for id, (_, each) in zip(ids, images, strict=True))
        correct, rejected = row.get("correct"), row.get("rejected")
        sample = Instruction(
            turns,
            images,
            id=identity(row, reading),
            system=system or reading.text(row, "system"),
            rejected=None if rejected is None else reading.text(row, "rejected"),
            related=reading.texts(row, "related"),
            choices=reading.texts(row, "choices"),
            correct=None if correct is None else reading.value(row, "correct", int, 0),
            answers=reading.texts(row, "answers"),
            rationales=reading.texts(row, "rationales"),
            objects=objects(row.get("objects"), reading),
            group=reading.text(row, "group"),
            meta=further(row),
        )
        alternating(sample, reading)
        reading.count(sample.slots, len(images))
        return sample

    def write(self, sample: Instruction) -> dict[str, Any]:
        ids = [id for id, _ in sample.images]
        further: dict[str, Any] = {
            "image_ids": ids if any(ids) else [],
            "rejected": sample.rejected,
            "related": list(sample.related),
            "choices": list(sample.choices),
            "correct": sample.correct,
            "answers": list(sample.answers),
            "rationales": list(sample.rationales),
            "objects": sample.objects and grounded(sample.objects),
            "group": sample.group,
            "meta": dict(sample.meta) or None,
        }
        return {
            "id": sample.id,
            "messages": messages(sample),
            "images": [image for _, image in sample.images],
            **{key: value for key, value in further.items() if value not in (None, "", [])},
        }


def is_text(row: Mapping[str, Any]) -> bool:
    """Whether a row has messages, and nothing but text in them."""
    found = row.get("messages")
    if row.get("images") or not isinstance(found, list):
        return False
    contents = [each.get("content") for each in found if isinstance(each, Mapping)]
    parts = [part for each in contents if isinstance(each, list) for part in each]
    return all(isinstance(part, Mapping) and part.get("type") == "text" for part in parts)


def further(row: Mapping[str, Any]) -> dict[str, Any]:
    """What else is known of a sample: below `meta`, and in columns of other names."""
    meta = row.get("meta")
    known = KEYS if row.get("images") is not None else (*KEYS, "image")
    if not isinstance(meta, Mapping):
        return extras(row, *(key for key in known if key != "meta"))
    return extras(row, *known) | extras(meta)


def grounded(found: Objects) -> dict[str, Any]:
    return {"ref": list(found.names), "bbox": [list(box) for box in found.boxes]}


def identity(row: Mapping[str, Any], reading: Reading, key: str = "id") -> str:
    """An id as text: numbers are ids as well."""
    found = row.get(key)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    return reading.text(row, key)


def objects(found: Any, reading: Reading) -> Objects | None:
    """Grounded objects as ms-swift has them: `{"ref": [names], "bbox": [[x1, y1, x2, y2]]}`."""
    if found is None:
        return None
    names: Any = found.get("ref") if isinstance(found, Mapping) else None
    boxes: Any = found.get("bbox") if isinstance(found, Mapping) else None
    named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not named or not isinstance(boxes, list) or not all(map(is_box, boxes)):
        reading.fault("objects", "'objects' is not {ref: [names], bbox: [[x1, y1, x2, y2], ...]}")
        return None
    return Objects(tuple(names), tuple((a, b, c, d) for a, b, c, d in boxes))


def is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(type(x) in (int, float) for x in box)


def conversation(found: Any, reading: Reading) -> tuple[str, tuple[Turn, ...]]:
    """The system message and the turns of a list of messages."""
    if not isinstance(found, list):
        reading.fault("messages", f"'messages' is {word(found)}, not a list")
        return "", ()
    system, turns = "", []
    for number, message in enumerate(found):
        if not isinstance(message, Mapping):
            reading.fault("messages", f"message {number} is {word(message)}, not an object")
            continue
        role, parts = message.get("role"), list(parts_of(message, number, reading))
        if calls := [key for key in CALLS if message.get(key) is not None]:
            reading.fault("tools", f"message {number} has {', '.join(calls)}")
        if role == "system" and number == 0:
            if IMAGE in parts:
                reading.fault("system-image", "the system message has an image")
            system = "".join(part for part in parts if isinstance(part, str))
        elif isinstance(role, str) and role in ROLES:
            turns.append(turn(ROLES[role], *parts))
        else:
            reading.fault("roles", f"message {number} has the role {role!r}")
    return system, tuple(turns)


def parts_of(message: Mapping[str, Any], number: int, reading: Reading) -> Iterator[Part]:
    """The parts of a message's content: a text, or a list of typed parts."""
    content = message.get("content", message.get("text"))
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            match part:
                case {"type": "image"}:
                    yield IMAGE
                case {"type": "text", "text": str(text)}:
                    yield text
                case _:
                    kind = part.get("type") if isinstance(part, Mapping) else word(part)
                    reading.fault("content", f"message {number} has a part of type {kind!r}")
    else:
        reading.fault("content", f"message {number} has {word(content)} for its content")


def messages(sample: Instruction) -> list[dict[str, Any]]:
    """A sample's system message and turns, each content a list of typed parts."""
    system = [{"role": "system", "content": [text_part(sample.system)]}] if sample.system else []
    return [*system, *({"role": t.role, "content": typed(t.parts)} for t in sample.turns)]


def typed(parts: Iterable[Part]) -> list[dict[str, Any]]:
    return [text_part(part) if isinstance(part, str) else {"type": "image"} for part in parts]


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def beside(meta: Mapping[str, Any], own: Iterable[str]) -> dict[str, Any]:
    """Further columns of a row. Raises SinkError("format") where a name is the format's own."""
    for key in own:
        if key in meta:
            raise SinkError("format", f"the format itself has a column '{key}'")
    return dict(meta)
