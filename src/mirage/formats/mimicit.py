"""MIMIC-IT: instructions with ids, images by key in a store beside them, related instructions.

A row is one entry of `NAME_instructions.json`, with its id, and its images once they are found:

    {"id": "TOY_INS_000001", "instruction": "And this one?", "answer": "Blue.",
     "image_ids": ["TOY_IMG_b"], "images": [...], "rel_ins_ids": ["TOY_INS_000000"]}

A conversation is one row as well: `earlier` holds the turns before the last; in the file each of
its questions is an entry of its own. The three files of a dataset are the matter of
`sources.mimicit` and `sinks.mimicit`.

Shape and rules: `MimicitDataset` in https://github.com/Luodian/Otter,
pipeline/mimicit_utils/mimicit_dataset.py, whose prompts make the words in RESERVED special.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from mirage.formats.instruction import Instruction, Shown, Turn, in_front, turn
from mirage.formats.messages import beside, identity
from mirage.formats.shape import CONVERSATION, Fault, Holds, Reading, extras, marked, word
from mirage.formats.tags import no_tag, untagged

RESERVED = ("<image>", "<answer>", "<|endofchunk|>")
KEYS = ("id", "instruction", "answer", "image_ids", "images", "rel_ins_ids", "earlier")


class EntryRow(dict[str, Any]):
    """A row with what only its dataset can say against it: ids that dangle, or stand twice."""

    __slots__ = ("faults",)

    def __init__(self, values: Mapping[str, Any], faults: list[Fault]) -> None:
        super().__init__(values)
        self.faults = faults


class MimicIt:
    """Rows of MIMIC-IT. Images belong to the first question, and stand in front of it."""

    name = "mimic-it"
    holds = Holds(CONVERSATION | {"id", "related", "meta", "ids"}, front=True)
    containers = ("folder", "jsonl")
    absolute = False
    marks = (frozenset({"instruction", "answer", "image_ids"}),)
    columns: ClassVar[Mapping[str, str]] = {"images": "images"}

    def claims(self, row: Mapping[str, Any]) -> bool:
        return marked(row, self.marks)

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        reading.faults += getattr(row, "faults", ())
        ids, related = (listed(row, key, reading) for key in ("image_ids", "rel_ins_ids"))
        images = reading.images(row, "images")
        found = not any(fault.rule.startswith("image-") for fault in reading.broken)
        if ids and len(ids) != len(images) and found:
            reading.fault("image-ids", f"{len(ids)} ids for {len(images)} images")
        elif ids:
            images = tuple(Shown(id, each) for id, (_, each) in zip(ids, images, strict=False))
        turns = [each for asked in questions(row, reading) for each in said(asked, reading)]
        return Instruction(
            in_front(turns, len(images)),
            images,
            id=identity(row, reading),
            related=related,
            meta=extras(row, *KEYS),
        )

    def write(self, sample: Instruction) -> dict[str, Any]:
        ids = [id for id, _ in sample.images]
        *earlier, last = asked_of(sample)
        return {
            "id": sample.id,
            **last,
            "image_ids": ids if any(ids) else [],
            "images": [image for _, image in sample.images],
            "rel_ins_ids": list(sample.related),
            **({"earlier": earlier} if earlier else {}),
            **beside(sample.meta, KEYS),
        }


def listed(row: Mapping[str, Any], key: str, reading: Reading) -> tuple[str, ...]:
    """A list of ids. The loader forgives one thing: no `image_ids`, in rows of text."""
    if row.get(key) is None:
        tell = reading.note if key == "image_ids" else reading.fault
        tell("missing", f"'{key}' is {'null, not a list' if key in row else 'missing'}")
    return reading.texts(row, key)


def questions(row: Mapping[str, Any], reading: Reading) -> Iterator[Mapping[str, Any]]:
    """What is asked, with its answer: earlier turns first."""
    earlier: list[Any] = reading.value(row, "earlier", list, [])
    for number, asked in enumerate(earlier):
        if isinstance(asked, Mapping):
            yield asked
        else:
            reading.fault("type", f"earlier turn {number} is {word(asked)}, not an object")
    yield row


def said(asked: Mapping[str, Any], reading: Reading) -> tuple[Turn, Turn]:
    texts = [reading.needed(asked, key) for key in ("instruction", "answer")]
    question, answer = (
        no_tag(text, what, reading, RESERVED)
        for text, what in zip(texts, ("the instruction", "the answer"), strict=True)
    )
    return turn("user", question), turn("assistant", answer)


def asked_of(sample: Instruction) -> list[dict[str, str]]:
    """Each question of a sample with its answer. Raises SinkError("format")."""
    texts = [untagged(each.text, "a text", RESERVED) for each in sample.turns]
    pairs = zip(texts[::2], texts[1::2], strict=True)
    return [{"instruction": question, "answer": answer} for question, answer in pairs]
