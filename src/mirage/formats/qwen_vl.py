"""Qwen-VL: LLaVA's conversations, as the fine-tuning code of Qwen2.5-VL and Qwen3-VL reads them.

    {"image": ["cats/1.jpg", "cats/2.jpg"], "conversations": [
        {"from": "human", "value": "<image>\\n<image>\\nWhat differs?"},
        {"from": "gpt", "value": "The colour."}]}

Shape and rules: qwen-vl-finetune/README.md of https://github.com/QwenLM/Qwen3-VL, and there
`_build_messages` in qwenvl/data/data_processor.py. The page shows several images under `images`;
the code looks at `image` alone, so that this is what is written. Whoever is not `human` counts as
the model, and `<video>` in a question is a tag.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mirage.formats.instruction import Instruction
from mirage.formats.llava import row_of, turns_of
from mirage.formats.messages import identity
from mirage.formats.shape import CONVERSATION, Holds, Reading, alternating, extras
from mirage.formats.tags import TAG, no_tag, only_images, untagged

KEYS = ("id", "image", "images", "video", "conversations")
RESERVED = ("<video>", "<|image_pad|>", "<|video_pad|>")


class QwenVl:
    """Rows of Qwen-VL. A newline after a tag belongs to the tag: the loader strips blanks there."""

    name = "qwen-vl"
    holds = Holds(CONVERSATION | {"id", "meta"})
    containers = ("json", "jsonl")
    absolute = False
    marks = (frozenset({"conversations"}),)
    columns: ClassVar[Mapping[str, str]] = {}

    def claims(self, row: Mapping[str, Any]) -> bool:
        return False  # such a row is as well one of LLaVA

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        if row.get("images") is not None:
            reading.note("images-key", "the loader reads 'image' and passes over 'images'")
        only_images(row, reading, "video")
        sample = Instruction(
            turns_of(row.get("conversations"), reading),
            reading.images(row, "image", "images"),
            id=identity(row, reading),
            meta=extras(row, *KEYS),
        )
        for number, turn in enumerate(sample.turns):
            no_tag(turn.text, f"turn {number}", reading, RESERVED)
        alternating(sample, reading)
        reading.count(sample.slots, len(sample.images))
        return sample

    def write(self, sample: Instruction) -> dict[str, Any]:
        for number, turn in enumerate(sample.turns):
            untagged(turn.text, f"turn {number}", (TAG, *RESERVED))
        return row_of(sample, KEYS)
