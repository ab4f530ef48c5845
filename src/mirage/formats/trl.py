"""TRL: conversations beside a list of images, and preferences between two answers.

    {"images": [...], "messages": [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}]}
    {"images": [...], "prompt": [...], "chosen": [...], "rejected": [...]}

Shape and rules: https://huggingface.co/docs/trl/dataset_formats, `prepare_multimodal_messages` of
trl/data_utils.py, and the collators of `SFTTrainer` and `DPOTrainer`. A collator takes the kind of
a whole batch from its first row, so that a file holds one kind: two formats. Rows without images
have an empty list of them, since not every collator takes null, and every content is a list of
parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, ClassVar

from msgspec.structs import replace

from mirage.errors import SinkError
from mirage.formats.instruction import Instruction, Shown, Turn
from mirage.formats.messages import beside, conversation, identity, messages, text_part, typed
from mirage.formats.shape import CONVERSATION, Holds, Reading, alternating, extras, word
from mirage.formats.tags import no_tag, untagged

KINDS = ("messages", "prompt", "completion", "chosen", "rejected", "label")
"""Columns by which TRL tells the kind of a row: a row has those of one kind."""
KEYS = ("id", "images", "image", *KINDS)


class Trl:
    """Conversations for `SFTTrainer`; those cut into `prompt` and `completion` are read as well."""

    name = "trl"
    holds = Holds(CONVERSATION | {"id", "system", "meta"}, drawn=True)
    containers = ("parquet", "hf", "jsonl", "json")
    absolute = True
    marks = (frozenset({"prompt", "completion"}),)
    columns: ClassVar[Mapping[str, str]] = {"images": "images"}

    def claims(self, row: Mapping[str, Any]) -> bool:
        return isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list)

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        cut = row.get("messages") is None and row.get("prompt") is not None
        kind = ("prompt", "completion") if cut else ("messages",)
        images = images_of(row, reading, null=not cut)
        of_one_kind(row, kind, reading)
        said = prepared(row, kind[0], len(images), reading)
        if cut:
            said += prepared(row, "completion", 0, reading)
        system, turns = conversation(said, reading)
        sample = Instruction(
            turns, images, id=identity(row, reading), system=system, meta=extras(row, *KEYS)
        )
        alternating(sample, reading)
        if said:
            reading.count(slots(said), len(images))
        return sample

    def write(self, sample: Instruction) -> dict[str, Any]:
        readable(sample)
        images = [image for _, image in sample.images]
        said = {"messages": messages(sample), "images": images}
        return {"id": sample.id, **said, **beside(sample.meta, KEYS)}


class TrlPreference:
    """A prompt and two answers to it, of one message each, for `DPOTrainer`."""

    name = "trl-preference"
    holds = Holds(
        CONVERSATION | {"id", "system", "rejected", "meta"}, needs=frozenset({"rejected"})
    )
    containers = Trl.containers
    absolute = True
    marks = (frozenset({"chosen", "rejected"}),)
    columns: ClassVar[Mapping[str, str]] = Trl.columns

    def claims(self, row: Mapping[str, Any]) -> bool:
        return isinstance(row.get("chosen"), list) and isinstance(row.get("rejected"), list)

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        images = images_of(row, reading)
        row = prompted(row)
        of_one_kind(row, ("prompt", "chosen", "rejected"), reading)
        said = prepared(row, "prompt", len(images), reading)
        system, asked = conversation(said, reading)
        chosen, rejected = (answer(row, key, reading) for key in ("chosen", "rejected"))
        sample = Instruction(
            (*asked, *chosen),
            images,
            id=identity(row, reading),
            system=system,
            rejected="".join(each.text for each in rejected),
            meta=extras(row, *KEYS),
        )
        alternating(sample, reading)
        if said:
            reading.count(slots(said), len(images))
        return sample

    def write(self, sample: Instruction) -> dict[str, Any]:
        readable(sample)
        if sample.rejected is None:
            raise SinkError("format", "a preference has a rejected answer")
        rejected = untagged(sample.rejected, "the rejected answer")
        *asked, chosen = sample.turns
        answers = {"chosen": chosen.parts, "rejected": (rejected,) if rejected else ()}
        return {
            "id": sample.id,
            "images": [image for _, image in sample.images],
            "prompt": messages(replace(sample, turns=tuple(asked))),
            **{key: [reply(parts)] for key, parts in answers.items()},
            **beside(sample.meta, KEYS),
        }


def reply(parts: tuple[Any, ...]) -> dict[str, Any]:
    return {"role": "assistant", "content": typed(parts)}


def images_of(row: Mapping[str, Any], reading: Reading, *, null: bool = False) -> tuple[Shown, ...]:
    """The images of a row. Where TRL takes no `null`, a row of JSON that says nothing is no better:
    beside rows that have images it reaches TRL as null.
    """
    found = row.get("images")
    if "image" in row and "images" not in row:
        if row["image"] is None:
            reading.fault("images", "'image' is null: a row without images has `images: []`")
        return reading.images(row, "image")
    if found is None and ("images" not in row or null):
        if not null:
            reading.note("images", "there is no `images`: beside rows that have them it must be []")
    elif not isinstance(found, list):
        reading.fault("images", f"'images' is {word(found)}, not a list, which may be empty")
    return reading.images(row, "images")


def of_one_kind(row: Mapping[str, Any], kind: tuple[str, ...], reading: Reading) -> None:
    others = [key for key in KINDS if key not in kind and row.get(key) is not None]
    if others:
        reading.fault("columns", f"beside {', '.join(kind)}, TRL takes no {', '.join(others)}")


def prepared(
    row: Mapping[str, Any], key: str, images: int, reading: Reading
) -> list[Mapping[str, Any]]:
    """The messages at a key as TRL prepares them: a plain content becomes a part, and all images
    stand before the first one that a user says.
    """
    found = row.get(key)
    if not isinstance(found, list):
        reading.fault("messages", f"'{key}' is {word(found)}, not a list")
        return []
    said: list[Mapping[str, Any]] = []
    for number, message in enumerate(found):
        if not isinstance(message, Mapping):
            said.append(message)  # `conversation` finds the words for it
            continue
        content = message.get("content")
        if isinstance(content, str):
            front = images if message.get("role") == "user" else 0
            images -= front
            content = [{"type": "image"}] * front + [text_part(content)]
        for part in content if isinstance(content, list) else ():
            look(part, f"message {number} of '{key}'", reading)
        said.append({**message, "content": content})
    return said


def look(part: Any, where: str, reading: Reading) -> None:
    match part:
        case {"type": "image", "image": _}:
            reading.fault("content", f"{where} has an image in a part, not in `images`")
        case {"type": "text", "text": str(text)}:
            no_tag(text, where, reading)


def slots(said: list[Mapping[str, Any]]) -> int:
    """How many images prepared messages ask for; a part with a key `image` does not."""
    contents = [each["content"] for each in said if isinstance(each, Mapping)]
    parts = [part for each in contents if isinstance(each, list) for part in each]
    bare = [part for part in parts if isinstance(part, Mapping) and "image" not in part]
    return sum(part.get("type") == "image" for part in bare)


def answer(row: Mapping[str, Any], key: str, reading: Reading) -> tuple[Turn, ...]:
    """The one turn at `chosen` or `rejected`; TRL gives images to the prompt only."""
    system, turns = conversation(prepared(row, key, 0, reading), reading)
    said = [(each.role, each.slots) for each in turns]
    if not reading.broken and (system or said != [("assistant", 0)]):
        reading.fault("answers", f"'{key}' is not one message of the assistant without images")
    return turns


def prompted(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row with its prompt, which without images may stand in front of both answers."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    bare = row.get("prompt") is None and "images" not in row and "image" not in row
    if not (bare and isinstance(chosen, list) and isinstance(rejected, list)):
        return row
    pairs = zip(chosen, rejected, strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    cut = {"prompt": chosen[:shared], "chosen": chosen[shared:], "rejected": rejected[shared:]}
    return {**row, **cut}


def readable(sample: Instruction) -> None:
    """Models whose image token is `<image>` count a tag in any text. Raises SinkError("format")."""
    untagged(sample.system, "the system message")
    for each in sample.turns:
        untagged(each.text, "a text")
