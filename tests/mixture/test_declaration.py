"""The data YAML: what it means, and every mistake in it with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mirage.errors import ConfigError
from mirage.mixture.declaration import load_declaration
from mixture.toys import declared, many, toy


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_declaration(declared(folder, text))
    return [str(each).removeprefix(f"{folder}/") for each in caught.value.mistakes]


def test_a_dataset_is_what_the_yaml_says(tmp_path: Path) -> None:
    path = toy(tmp_path, more="    num_samples: 7\n    task_description: [Answer., Tell.]\n")
    (found,) = load_declaration(path).datasets
    assert (found.group, found.name, found.samples) == ("IMAGE_TEXT", "TOY", 7)
    assert found.instructions == tmp_path / "TOY_instructions.json"
    assert found.images == (tmp_path / "TOY.json",)
    assert found.train is None
    assert found.descriptions == ("Answer.", "Tell.")


@pytest.mark.parametrize("given", ["", "    num_samples: 0\n", "    num_samples: -1\n"])
def test_none_nought_and_minus_one_mean_all_samples(tmp_path: Path, given: str) -> None:
    assert load_declaration(toy(tmp_path, more=given)).datasets[0].samples is None


def test_an_empty_path_is_none(tmp_path: Path) -> None:
    """As it is for the loader of the format."""
    (found,) = load_declaration(toy(tmp_path, more='    train_config_path: ""\n')).datasets
    assert found.train is None


def test_a_dataset_without_images_looks_in_those_of_its_group(tmp_path: Path) -> None:
    text = toy(tmp_path).read_text() + "  MORE: {mimicit_path: TOY_instructions.json}\n"
    found = load_declaration(declared(tmp_path, text)).datasets
    assert found[1].images == found[0].images != ()


def test_all_mistakes_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    toy(tmp_path)
    text = """\
IMAGE_TXT:
  A: {mimicit_path: TOY_instructions.json}
IMAGE_TEXT:
  B:
    mimicit_path: nowhere.json
    image_path: TOY.json
    num_samples: null
  C:
    mimicit_path: TOY_instructions.json
    num_samples: -2
    task_description: Answer well.
  D: 7
TEXT_ONLY:
  E:
    mimicit_path: TOY_instructions.json
    images_path: TOY.json
    train_config_path: [a]
  F:
    num_samples: true
sample_ratio: sqr
"""
    found = mistakes(tmp_path, text)
    assert [each.partition(" ")[0] for each in found] == [
        "data.yaml:1:1:",
        "data.yaml:5:19:",
        "data.yaml:6:5:",
        "data.yaml:7:18:",
        "data.yaml:10:18:",
        "data.yaml:11:23:",
        "data.yaml:12:3:",
        "data.yaml:16:5:",
        "data.yaml:17:24:",
        "data.yaml:18:3:",
        "data.yaml:19:18:",
        "data.yaml:20:15:",
    ]
    told = "\n".join(found)
    assert "IMAGE_TXT: unknown group" in told
    assert "did you mean 'IMAGE_TEXT'?" in told
    assert "IMAGE_TEXT.B.mimicit_path:" in told
    assert "nowhere.json does not exist" in told
    assert "IMAGE_TEXT.B.image_path: unknown key; did you mean 'images_path'?" in told
    assert "IMAGE_TEXT.B.num_samples" in told
    assert "or -1 for all of them; not -2" in told
    assert "IMAGE_TEXT.C.task_description: must be a list of texts" in told
    assert "IMAGE_TEXT.D: must be a mapping of keys" in told
    assert "TEXT_ONLY.E.images_path: TEXT_ONLY has no images" in told
    assert "TEXT_ONLY.E.train_config_path: must be a path" in told
    assert "TEXT_ONLY.F.mimicit_path: is required" in told
    assert "TEXT_ONLY.F.num_samples: must be a number of samples" in told
    assert "sample_ratio: must be size or sqrt; did you mean 'sqrt'?" in told


def test_a_mixture_of_nothing_is_a_mistake(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "TEXT_ONLY: {}\n") == [
        "data.yaml:1:1: a mixture has at least one dataset"
    ]


def test_more_than_an_epoch_can_hold_is_a_mistake(tmp_path: Path) -> None:
    text = toy(tmp_path, more="    num_samples: 20000000000\n").read_text()
    assert "20,000,000,000 samples are too many" in mistakes(tmp_path, text)[0]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_declaration(tmp_path / "data.yaml")


def test_a_dataset_twice_is_a_duplicate_key(tmp_path: Path) -> None:
    lines = many(tmp_path, "A", 1)
    assert "duplicate key" in mistakes(tmp_path, f"TEXT_ONLY:\n{lines}{lines}")[0]


def test_the_example_of_the_page_is_valid(tmp_path: Path) -> None:
    """With the files that it names."""
    page = Path(__file__).parents[2] / "docs" / "formats" / "mixture.md"
    text = page.read_text("utf-8").partition("```text\n")[2].partition("```")[0]
    for name in re.findall(r"_path: (\S+)", text):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    found = load_declaration(declared(tmp_path, text))
    assert [each.name for each in found.datasets] == ["LADD", "COCO", "LIMA"]
    assert (found.ratio, found.datasets[1].samples) == ("sqrt", 20_000)
