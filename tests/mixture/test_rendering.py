"""Examples as training text and as conversations."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage.errors import SourceError
from mirage.formats.instruction import IMAGE, Instruction
from mirage.mixture import open_mixture
from mirage.mixture.dataset import Example
from mirage.mixture.mixture import Mixture
from mirage.mixture.rendering import conversation, simple
from mirage.mixture.writing import rendered
from mixture.toys import TOY, declared, entry, images, instructions, toy


def example(path: Path, number: int = 1) -> Example:
    return open_mixture(path).example(number)


def shown(sample: Instruction) -> list[str]:
    return [id for id, _ in sample.images]


def test_in_context_each_question_has_its_tag_and_its_image(tmp_path: Path) -> None:
    """The example's image first, then the query's."""
    text = rendered(example(toy(tmp_path, "IMAGE_TEXT_IN_CONTEXT")))
    assert text.text == (
        "<image>User:What colour is it? GPT:<answer>Red.<|endofchunk|>"
        "<image>User:And this one? GPT:<answer>Blue.<|endofchunk|>"
    )
    assert [id for id, _ in text.images] == ["TOY_IMG_a", "TOY_IMG_b"]


def test_a_conversation_about_one_image_has_one_tag(tmp_path: Path) -> None:
    text = rendered(example(toy(tmp_path)))
    assert text.text == (
        "<image>User:What colour is it? GPT:<answer>Red.<|endofchunk|>"
        "User:And this one? GPT:<answer>Blue.<|endofchunk|>"
    )
    assert [id for id, _ in text.images] == ["TOY_IMG_b"]


def test_a_text_has_no_tag(tmp_path: Path) -> None:
    instructions(tmp_path, "T", {"a": entry("Why?", "So."), "b": entry("And?", "No.", [], ["a"])})
    path = declared(tmp_path, "TEXT_ONLY:\n  T: {mimicit_path: T_instructions.json}\n")
    text = rendered(example(path))
    assert text.text == (
        "User:Why? GPT:<answer>So.<|endofchunk|>User:And? GPT:<answer>No.<|endofchunk|>"
    )
    assert text.images == ()


def test_what_relates_to_a_related_instruction_is_not_shown(tmp_path: Path) -> None:
    entries = {
        "a": entry("1", "x"),
        "b": entry("2", "y", [], ["a"]),
        "c": entry("3", "z", [], ["b"]),
    }
    instructions(tmp_path, "T", entries)
    path = declared(tmp_path, "TEXT_ONLY:\n  T: {mimicit_path: T_instructions.json}\n")
    assert rendered(example(path, 2)).text.count("User:") == 2


def film(folder: Path, frames: int) -> Path:
    keys = [f"V_IMG_{n}" for n in range(frames)]
    images(folder, "V", keys)
    instructions(folder, "V", {"V_INS_0": entry("What happens?", "A fall.", keys)})
    text = "VIDEO_TEXT:\n  V: {mimicit_path: V_instructions.json, images_path: V.json}\n"
    return declared(folder, text)


def test_a_film_is_one_tag_and_its_frames_evenly_spaced(tmp_path: Path) -> None:
    found = example(film(tmp_path, 3), 0)
    assert simple(found).text == "<image>User:What happens? GPT:<answer>A fall.<|endofchunk|>"
    assert len(simple(found).images) == 32
    six = [id for id, _ in simple(found, frames=6).images]
    assert six == [f"V_IMG_{n}" for n in (0, 0, 0, 1, 1, 2)]


def test_a_film_without_frames_is_no_example(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no-frames"):
        rendered(example(film(tmp_path, 0), 0))


@pytest.mark.parametrize(("group", "count"), [("IMAGE_TEXT", 2), ("IMAGE_TEXT_IN_CONTEXT", 0)])
def test_a_tag_stands_for_one_image(tmp_path: Path, group: str, count: int) -> None:
    path = toy(tmp_path, group)
    asked = entry("What?", "This.", ["TOY_IMG_a", "TOY_IMG_b"][:count])
    instructions(tmp_path, "TOY", TOY | {"odd": asked})
    with pytest.raises(SourceError, match=f"tag-count: 1 <image> tag for {count} images"):
        rendered(example(path, 2))


def test_texts_stay_as_they_are(tmp_path: Path) -> None:
    """Code, Markdown, symbols, other scripts, blanks at both ends."""
    question, answer = "  2 < 3 & `x = {y}` #1?\n", "**Ja** - 42 % £ 「画像」。 "
    instructions(tmp_path, "T", {"a": entry(question, answer)})
    path = declared(tmp_path, "TEXT_ONLY:\n  T: {mimicit_path: T_instructions.json}\n")
    told = f"User:{question} GPT:<answer>{answer}<|endofchunk|>"
    assert rendered(example(path, 0)).text == told


def test_a_description_is_drawn_by_seed_and_id(tmp_path: Path) -> None:
    path = toy(tmp_path, more="    task_description: [One., Two., Three.]\n")
    drawn = {
        (seed, number): open_mixture(path, seed=seed).example(number).description
        for seed in range(12)
        for number in (0, 1)
    }
    assert {*drawn.values()} == {"One.", "Two.", "Three."}
    assert drawn[0, 0] == open_mixture(path, seed=0).example(0).description
    assert any(drawn[seed, 0] != drawn[seed, 1] for seed in range(12))
    found = Mixture(open_mixture(path).declaration).example(0)
    assert rendered(found).text.startswith(f"{found.description}\n<image>User:")
    assert conversation(found).system == found.description


def test_as_a_sample_the_images_stand_where_they_are_asked_about(tmp_path: Path) -> None:
    sample = conversation(example(toy(tmp_path, "IMAGE_TEXT_IN_CONTEXT")))
    assert [turn.parts for turn in sample.turns] == [
        (IMAGE, "What colour is it?"),
        ("Red.",),
        (IMAGE, "And this one?"),
        ("Blue.",),
    ]
    assert shown(sample) == ["TOY_IMG_a", "TOY_IMG_b"]
    assert (sample.id, sample.group, sample.related) == (
        "TOY_INS_000001",
        "IMAGE_TEXT_IN_CONTEXT",
        (),
    )


def test_as_a_sample_of_one_image_that_stands_first(tmp_path: Path) -> None:
    sample = conversation(example(toy(tmp_path)))
    assert [turn.slots for turn in sample.turns] == [1, 0, 0, 0]
    assert shown(sample) == ["TOY_IMG_b"]
