"""LLaVA: one JSON list of conversations with `<image>` tags.

    {"id": "1", "image": "a/1.jpg", "conversations": [
        {"from": "human", "value": "<image>\\nWhat?"}, {"from": "gpt", "value": "A cat."}]}

Shape and rules: https://github.com/haotian-liu/LLaVA/blob/main/docs/Finetune_Custom_Data.md and
`LazySupervisedDataset` in llava/train/train.py. `image` is a path, or a list of paths for several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from mirage.formats.instruction import Instruction, Role, Turn, turn
from mirage.formats.messages import beside, identity
from mirage.formats.shape import CONVERSATION, Holds, Reading, alternating, extras, marked, word
from mirage.formats.tags import no_tag, parts_of, tagged

FROM: dict[str, Role] = {"human": "user", "gpt": "assistant"}
KEYS = ("id", "image", "conversations")


class Llava:
    """Rows of LLaVA. A newline after a tag belongs to the tag."""

    name = "llava"
    holds = Holds(CONVERSATION | {"id", "meta"})
    containers = ("json", "jsonl")
    absolute = False
    marks = (frozenset({"conversations"}),)
    columns: ClassVar[Mapping[str, str]] = {}

    def claims(self, row: Mapping[str, Any]) -> bool:
        return marked(row, self.marks) and "images" not in row

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        sample = Instruction(
            turns_of(row.get("conversations"), reading),
            reading.images(row, "image"),
            id=identity(row, reading),
            meta=extras(row, *KEYS),
        )
        alternating(sample, reading)
        reading.count(sample.slots, len(sample.images))
        return sample

    def write(self, sample: Instruction) -> dict[str, Any]:
        return row_of(sample, KEYS)


def turns_of(found: Any, reading: Reading) -> tuple[Turn, ...]:
    """The turns of a list of `from` and `value`."""
    if not isinstance(found, list):
        reading.fault("conversations", f"'conversations' is {word(found)}, not a list")
        return ()
    turns = []
    for number, said in enumerate(found):
        match said:
            case {"from": str(who), "value": str(text)} if who in FROM:
                role = FROM[who]
                if role == "user":
                    turns.append(turn(role, *parts_of(text, "\n")))
                else:
                    turns.append(turn(role, no_tag(text, f"answer {number}", reading)))
            case {"from": who, "value": str()}:
                reading.fault("roles", f"turn {number} is from {who!r}, not from human or gpt")
            case _:
                reading.fault("conversations", f"turn {number} has no `from` and `value`")
    return tuple(turns)


def row_of(sample: Instruction, keys: Iterable[str]) -> dict[str, Any]:
    """The row of a sample, further columns beside the format's own `keys`."""
    names = {role: who for who, role in FROM.items()}
    said = [{"from": names[each.role], "value": tagged(each, "\n")} for each in sample.turns]
    images = [image for _, image in sample.images]
    shown = {"image": images if len(images) > 1 else images[0]} if images else {}
    return {"id": sample.id, **shown, "conversations": said, **beside(sample.meta, keys)}
