"""What the formats with tags read besides the rows that they write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mirage.errors import SinkError
from mirage.formats import recognise, shape
from mirage.formats.dataset_info import Described
from mirage.formats.instruction import IMAGE, Instruction, Objects, Shown, Turn, turn
from mirage.formats.shape import Joint, Reading, Shape, among, fit
from mirage.record import Image

from .samples import PICTURES

GOLDEN = Path(__file__).parent / "golden"
HUMAN = {"from": "human", "value": "<image>What?"}
GPT = {"from": "gpt", "value": "A cat."}
SHOWN = (turn("user", IMAGE, "What?"), turn("assistant", "A cat."))
PICTURE = (Shown("", PICTURES[0]),)


def read(name: str, row: dict[str, Any]) -> tuple[Instruction, Reading]:
    reading = Reading(among(GOLDEN, given=False))
    return shape(name).read(row, reading), reading


def sound(name: str, row: dict[str, Any]) -> Instruction:
    sample, reading = read(name, row)
    assert not reading.faults
    return sample


def notes(name: str, row: dict[str, Any]) -> list[str]:
    reading = read(name, row)[1]
    assert not reading.broken
    return [fault.rule for fault in reading.faults]


def test_conversations_are_read_as_sharegpt() -> None:
    """The older shape, its system message in a column or in front."""
    row = {"conversations": [HUMAN, GPT], "images": ["images/1.jpg"], "system": "Be brief."}
    inline = [{"from": "system", "value": "Be brief."}, HUMAN, GPT]
    assert recognise([row]) == "sharegpt"
    assert sound("sharegpt", row).system == "Be brief."
    assert sound("sharegpt", {**row, "conversations": inline, "system": ""}).turns == SHOWN


def test_a_single_image_needs_no_list() -> None:
    row = {"conversations": [HUMAN, GPT], "images": "images/1.jpg"}
    assert len(sound("sharegpt", row).images) == 1


def test_instruction_and_input_are_one_question() -> None:
    """With a newline between them, and none where one is empty."""
    row = {"instruction": "Which?", "input": "a or b", "output": "b"}
    assert sound("alpaca", row).turns[0].text == "Which?\na or b"
    assert sound("alpaca", {**row, "instruction": ""}).turns[0].text == "a or b"


def test_an_answer_beside_a_chosen_one_is_noted() -> None:
    """The loader passes over it."""
    row = {"instruction": "Which?", "output": "b", "chosen": "b", "rejected": "a"}
    assert notes("alpaca", row) == ["ranking"]
    assert read("alpaca", row)[0].rejected == "a"


def test_images_of_qwen_are_read_and_noted() -> None:
    """The page of the format shows the key, and its loader knows none of that name."""
    row = {"conversations": [HUMAN, GPT], "images": ["images/1.jpg"]}
    assert notes("qwen-vl", row) == ["images-key"]


def test_messages_of_one_side_are_one_turn() -> None:
    """As ms-swift joins them; its other names for the sides are read as well."""
    said = ["Look: ", "<image>", "A ", "cat."]
    roles = ["human", "user", "gpt", "bot"]
    messages = [{"role": r, "content": t} for r, t in zip(roles, said, strict=True)]
    sample = sound("ms-swift", {"messages": messages, "image": "images/1.jpg"})
    assert sample.turns == (turn("user", "Look: ", IMAGE), turn("assistant", "A cat."))


def test_what_a_message_counts_is_noted() -> None:
    user = {"role": "user", "content": "What?"}
    assert notes(
        "ms-swift", {"messages": [user, {"role": "assistant", "content": "b", "loss": False}]}
    ) == ["loss"]


def test_objects_without_a_tag_are_noted() -> None:
    """The loader passes over what is left of either."""
    said = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": "<bbox>"}]
    row = {
        "messages": said,
        "objects": {"ref": ["cat"], "bbox": [[0, 0, 3, 4]], "bbox_type": "real"},
    }
    assert notes("ms-swift", row) == ["objects"]
    assert read("ms-swift", row)[0].objects == Objects(("cat",), ((0, 0, 3, 4),))


LITERAL = (turn("user", "What?"), turn("assistant", "No <video>."))
INLINE = (turn("user", "See <img>a.jpg</img>"), turn("assistant", "Yes."))
DRAWN = (turn("user", "Draw."), turn("assistant", IMAGE))


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("sharegpt", Instruction(LITERAL)),
        ("alpaca", Instruction(LITERAL)),
        ("qwen-vl", Instruction(LITERAL)),
        ("sharegpt", Instruction(SHOWN, PICTURE, system="See <image>.")),
        ("sharegpt", Instruction(DRAWN, PICTURE, rejected="No.")),
        ("alpaca", Instruction(DRAWN, PICTURE, rejected="No.")),
        ("ms-swift", Instruction(DRAWN, PICTURE, rejected="No.")),
        ("qwen-vl", Instruction(DRAWN, PICTURE)),
        ("ms-swift", Instruction(INLINE)),
        ("ms-swift", Instruction(SHOWN, PICTURE, rejected="A cat.")),
        ("ms-swift", Instruction(SHOWN, PICTURE, meta={"system": "Be brief."})),
        ("alpaca", Instruction(SHOWN, PICTURE, meta={"history": 1})),
    ],
)
def test_what_a_loader_would_misread_is_refused(name: str, sample: Instruction) -> None:
    with pytest.raises(SinkError):
        shape(name).write(fit(sample, shape(name))[0])


def test_a_literal_tag_in_a_neutral_row_is_text() -> None:
    """Without images, messages in plain text are not taken for those of a format with tags."""
    said = [{"role": "user", "content": "What is <image>?"}, {"role": "assistant", "content": "A"}]
    assert recognise([{"messages": said}]) == "messages"
    assert recognise([{"messages": said, "images": ["images/1.jpg"]}]) == "sharegpt"


def test_images_in_answers_are_read_and_written() -> None:
    """By the formats whose loaders count the tags of all messages."""
    for name in ("sharegpt", "alpaca", "ms-swift"):
        sample = Instruction(DRAWN, (Shown("", Image("a.png", data=PICTURES[0].data)),))
        turns: tuple[Turn, ...] = sound(name, shape(name).write(sample)).turns
        assert turns == DRAWN


def broken_together(form: Shape, samples: list[Instruction]) -> list[tuple[int, str]]:
    assert isinstance(form, Joint)
    look = form.together()
    return [(at, fault.rule) for at, sample in enumerate(samples) for fault in look(sample)]


@pytest.mark.parametrize("name", ["sharegpt", "alpaca"])
@pytest.mark.parametrize(("at", "told"), [(0, []), (999, []), (1000, ["late-images"])])
def test_the_first_thousand_rows_must_show_an_image(name: str, at: int, told: list[str]) -> None:
    """Where any row does: the loader takes the column for one of nulls otherwise. Messages that are
    not described may be another program's.
    """
    form = shape(name)
    assert isinstance(form, Described)
    rows = [Instruction(SHOWN)] * at + [Instruction(SHOWN, PICTURE)] * 2
    assert broken_together(form.at(form.written), rows) == [(at, rule) for rule in told]
    assert not broken_together(form.at(form.written), rows[:at])
    assert not broken_together(form, rows)


def test_all_rows_of_ms_swift_are_of_one_kind() -> None:
    """Its loader drops those without a rejected answer, where others have one."""
    plain, ranked = Instruction(SHOWN), Instruction(SHOWN, rejected="A dog.")
    assert not broken_together(shape("ms-swift"), [ranked, ranked])
    assert broken_together(shape("ms-swift"), [plain, plain, ranked, plain]) == [(2, "mixed")]
