"""Alpaca as LLaMA-Factory has it: one question with what went before, and a `dataset_info.json`.

    {"instruction": "<image>What?", "input": "", "output": "A cat.", "system": "",
     "history": [["Hello", "Hi."]], "images": ["images/1.jpg"]}

The user says instruction and input, a newline between them. With a rejected answer, `chosen` and
`rejected` stand in place of `output`. Other columns are read where `dataset_info.json` names them.

Shape and rules: data/README.md of https://github.com/hiyouga/LLaMA-Factory; in its
src/llamafactory/data `AlpacaDatasetConverter` of converter.py, and for the tags
`_validate_messages` of mm_plugin.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from msgspec import Struct
from msgspec.structs import replace

from mirage.formats.dataset_info import Layout
from mirage.formats.instruction import Instruction, Role, turn
from mirage.formats.messages import beside, identity
from mirage.formats.shape import CONVERSATION, Holds, Reading, Together, alternating, extras, marked
from mirage.formats.sharegpt import MEDIA, RESERVED, LateImages, rejected_of
from mirage.formats.tags import no_tag, only_images, parts_of, tagged, untagged

COLUMNS = {
    **{"prompt": "instruction", "query": "input", "response": "output", "system": "system"},
    **{"history": "history", "images": "images", "chosen": "chosen", "rejected": "rejected"},
}
USUAL = Layout(COLUMNS | {"videos": "videos", "audios": "audios"}, {})
ROLES: tuple[Role, Role] = ("user", "assistant")
KEYS = ("id", *USUAL.columns.values())


class Alpaca(Struct, frozen=True):
    """Rows of LLaMA-Factory's alpaca, in the layout of a file or in the usual one."""

    layout: Layout | None = None

    name = "alpaca"
    holds = Holds(CONVERSATION | {"id", "system", "rejected", "meta"}, drawn=True)
    containers = ("json", "jsonl")
    absolute = False
    marks = (frozenset({"instruction", "output"}), frozenset({"instruction", "chosen"}))
    columns: ClassVar[Mapping[str, str]] = {}
    written: ClassVar[Layout] = Layout(COLUMNS, {})

    def at(self, layout: Layout) -> Self:
        return replace(self, layout=layout)

    def claims(self, row: Mapping[str, Any]) -> bool:
        return marked(row, self.marks)

    def together(self) -> Together:
        return LateImages(described=self.layout is not None)

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        layout = self.layout or USUAL
        said = [*history(row, layout, reading), *asked(row, layout, reading)]
        for number, text in enumerate(said):
            no_tag(text, f"turn {number}", reading, MEDIA)
        turns = [turn(ROLES[n % 2], *parts_of(text)) for n, text in enumerate(said)]
        only_images(row, reading, layout.columns.get("videos"), layout.columns.get("audios"))
        sample = Instruction(
            tuple(turns),
            reading.images(row, layout.columns["images"]) if "images" in layout.columns else (),
            id=identity(row, reading),
            system=no_tag(text_of(row, "system", layout, reading), "the system", reading, RESERVED),
            rejected=rejected(row, layout, reading),
            meta=extras(row, "id", *layout.columns.values()),
        )
        alternating(sample, reading)
        reading.count(sample.slots, len(sample.images))
        return sample

    def write(self, sample: Instruction) -> dict[str, Any]:
        system = untagged(sample.system, "the system message", RESERVED)
        *before, question, answer = (tagged(each, "", RESERVED) for each in sample.turns)
        answers = {"output": answer}
        if sample.rejected is not None:
            answers = {"chosen": answer, "rejected": rejected_of(sample)}
        return {
            "id": sample.id,
            "instruction": question,
            "input": "",
            **answers,
            "system": system,
            "history": [list(pair) for pair in zip(before[::2], before[1::2], strict=True)],
            "images": [image for _, image in sample.images],
            **beside(sample.meta, KEYS),
        }


def text_of(row: Mapping[str, Any], column: str, layout: Layout, reading: Reading) -> str:
    name = layout.columns.get(column)
    return "" if name is None else reading.text(row, name)


def history(row: Mapping[str, Any], layout: Layout, reading: Reading) -> list[str]:
    """What was said before, question and answer in turn."""
    name = layout.columns.get("history")
    found: list[Any] = [] if name is None else reading.value(row, name, list, [])
    said: list[str] = []
    for number, pair in enumerate(found):
        match pair:
            case [str(question), str(answer)]:
                said += [question, answer]
            case _:
                reading.fault("history", f"{number} of '{name}' is no pair of texts")
    return said


def asked(row: Mapping[str, Any], layout: Layout, reading: Reading) -> tuple[str, str]:
    """The question, of one column or two, and its answer, the chosen one where there are two."""
    prompt = layout.columns.get("prompt", "instruction")
    texts = reading.needed(row, prompt), text_of(row, "query", layout, reading)
    question = "\n".join(text for text in texts if text)
    if ranked(row, layout):
        name = layout.columns.get("chosen", "chosen")
        if text_of(row, "response", layout, reading):
            reading.note("ranking", "what stands beside a chosen answer is not read")
        return question, no_tag(reading.needed(row, name), f"'{name}'", reading)
    return question, reading.needed(row, layout.columns.get("response", "output"))


def rejected(row: Mapping[str, Any], layout: Layout, reading: Reading) -> str | None:
    if not ranked(row, layout):
        return None
    name = layout.columns.get("rejected", "rejected")
    return no_tag(reading.needed(row, name), f"'{name}'", reading, RESERVED)


def ranked(row: Mapping[str, Any], layout: Layout) -> bool:
    """Whether a row has two answers, one of them rejected."""
    if layout.ranking is not None:
        return layout.ranking
    return layout.of(row, "chosen") is not None or layout.of(row, "rejected") is not None
