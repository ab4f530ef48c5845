"""A-OKVQA: a question about an image, its choices, and why one of them is right.

    [{"split": "train", "image_id": 4711, "question_id": "q-0001",
      "question": "What does the umbrella keep off?",
      "choices": ["wind", "rain", "noise", "dust"], "correct_choice_idx": 1,
      "direct_answers": ["rain", "water"], "difficult_direct_answer": false,
      "rationales": ["The street is wet."]}]

Shape: https://github.com/allenai/aokvqa, whose `get_coco_path` finds an image of COCO by its id:
`train2017/000000004711.jpg` below the folder of COCO. That is where images are looked for, and in
that folder itself; a column `image`, which the dataset does not have, names any other file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from mirage.errors import MediaError, SinkError
from mirage.formats.instruction import IMAGE, Instruction, Shown, turn
from mirage.formats.messages import beside, identity
from mirage.formats.shape import CONVERSATION, Fault, Holds, Reading, Together, extras, marked
from mirage.record import Image

USUAL: dict[str, Any] = {"split": "train", "difficult_direct_answer": False}
"""What the columns of a row say that are no part of a sample; anything else is kept in `meta`."""
KEYS = (
    *("image_id", "question_id", "question", "choices", "correct_choice_idx", "direct_answers"),
    *("rationales", "image"),
)
SEVERAL = frozenset({"choices", "correct", "answers", "rationales"})


class AOKVQA:
    """Rows of A-OKVQA. The answer is the correct choice; the test split has none."""

    name = "a-okvqa"
    holds = Holds(
        CONVERSATION | SEVERAL | {"id", "ids", "meta"},
        turns=2,
        images=1,
        front=True,
        needs=frozenset({"id", "images", "choices", "correct"}),
    )
    containers = ("json", "jsonl")
    absolute = False
    marks = (frozenset({"question_id", "question", "choices"}),)
    columns: ClassVar[Mapping[str, str]] = {}

    def claims(self, row: Mapping[str, Any]) -> bool:
        return marked(row, self.marks)

    def together(self) -> Together:
        """Its scripts know a row by its id, and keep the last of two that have the same."""
        seen: set[str] = set()

        def look(sample: Instruction) -> Iterator[Fault]:
            if sample.id and sample.id in seen:
                yield Fault("duplicate-id", f"{sample.id!r} is the id of an earlier question")
            seen.add(sample.id)

        return look

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        for key in ("question_id", "question", "choices", "correct_choice_idx", "image_id"):
            if row.get(key) is None:
                reading.fault("missing", f"'{key}' is missing")
        choices = reading.texts(row, "choices")
        correct = chosen(row, choices, reading)
        asked = turn("user", IMAGE, reading.text(row, "question"))
        meta = extras(row, *KEYS)
        for key, usual in USUAL.items():
            if reading.value(row, key, type(usual), usual) == usual:
                meta.pop(key, None)
        return Instruction(
            (asked, turn("assistant", choices[correct] if choices else "")),
            shown(row, reading),
            id=identity(row, reading, "question_id"),
            choices=choices,
            correct=correct,
            answers=reading.texts(row, "direct_answers"),
            rationales=reading.texts(row, "rationales"),
            meta=meta,
        )

    def write(self, sample: Instruction) -> dict[str, Any]:
        (asked, answer), (id, image) = sample.turns, sample.images[0]
        if not id:
            raise SinkError("format", "the image has no id: a-okvqa names images by `image_ids`")
        if len({*sample.choices}) < len(sample.choices):
            raise SinkError("format", "two of the choices are the same")
        correct = sample.correct or 0
        if sample.choices[correct : correct + 1] != (answer.text,):
            raise SinkError("format", "the answer is not the correct one of the choices")
        said = {key: sample.meta.get(key, usual) for key, usual in USUAL.items()}
        if any(type(said[key]) is not type(usual) for key, usual in USUAL.items()):
            raise SinkError("format", "'split' is a text, 'difficult_direct_answer' a boolean")
        meta = {key: value for key, value in sample.meta.items() if key not in USUAL}
        found = image.given in places(id, said["split"])
        return {
            "split": said["split"],
            "image_id": int(id) if is_number(id) else id,
            "question_id": sample.id,
            "question": asked.text,
            "choices": list(sample.choices),
            "correct_choice_idx": correct,
            "direct_answers": list(sample.answers),
            "difficult_direct_answer": said["difficult_direct_answer"],
            "rationales": list(sample.rationales),
            **({} if found else {"image": image}),
            **beside(meta, KEYS),
        }


def chosen(row: Mapping[str, Any], choices: tuple[str, ...], reading: Reading) -> int:
    """The index of the correct choice, and the rules of both; 0 where it is none."""
    if row.get("choices") == []:
        reading.fault("choices", "there are no choices")
    if len({*choices}) < len(choices):
        reading.fault("choices", "two of the choices are the same")
    correct = reading.value(row, "correct_choice_idx", int, 0)
    if choices and not 0 <= correct < len(choices):
        count = len(choices)
        reading.fault("correct-choice", f"'correct_choice_idx' is {correct}, of {count} choices")
        return 0
    return correct


def shown(row: Mapping[str, Any], reading: Reading) -> tuple[Shown, ...]:
    """The image of a row: that of its own column, or the one of COCO that has its id."""
    id = identity(row, reading, "image_id")
    if row.get("image") is not None or not id:
        image = None if row.get("image") is None else reading.image(row["image"])
    else:
        image = of_coco(id, reading.text(row, "split"), reading)
    return () if image is None else (Shown(id, image),)


def of_coco(id: str, split: str, reading: Reading) -> Image | None:
    tried = places(id, split)
    for place in tried:
        try:
            return reading.locate(place)
        except MediaError as exc:
            if exc.kind != "missing":
                reading.fault(f"image-{exc.kind}", exc.message)
                return None
    reading.fault("image-missing", f"no such file: {' or '.join(tried)}")
    return None


def places(id: str, split: str) -> tuple[str, ...]:
    """Where an image of COCO may be, by its id: in its folder or in the one above."""
    name = f"{id.rjust(12, '0')}.jpg"
    return name, f"{split}2017/{name}"


def is_number(id: str) -> bool:
    """Whether an id is a number written as Python writes it, so that it comes back as it was."""
    return id.isascii() and id.isdigit() and str(int(id)) == id
