"""Datasets as one list of examples, and the rules between their files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from formats.samples import png

from mirage.dataset.verification import Violation
from mirage.errors import ConfigError, SourceError
from mirage.mixture import open_mixture
from mirage.mixture.checking import check
from mixture.toys import TOY, declared, entry, images, instructions, many, toy


def wrong(path: Path) -> dict[str, list[Violation]]:
    found: dict[str, list[Violation]] = {}
    broken = check(open_mixture(path), lambda v: found.setdefault(v.rule, []).append(v)).broken
    assert broken == {rule: len(each) for rule, each in found.items()}
    return found


def test_an_epoch_has_what_was_drawn_of_each_dataset(tmp_path: Path) -> None:
    a, b, c = many(tmp_path, "A", 10), many(tmp_path, "B", 4), many(tmp_path, "C", 3)
    text = f"TEXT_ONLY:\n{a}    num_samples: 6\n{b}    num_samples: 9\n{c}"
    mixture = open_mixture(declared(tmp_path, text))
    assert [share.drawn for share in mixture.shares()] == [6, 9, 3]
    assert [share.ratio for share in mixture.shares()] == [6 / 18, 9 / 18, 3 / 18]
    assert mixture.groups() == {"TEXT_ONLY": range(18)}
    seen = Counter(mixture.example(n).id for n in range(len(mixture)))
    assert len([id for id in seen if id.startswith("A")]) == 6
    assert {seen[f"B_INS_{n:03}"] for n in range(4)} == {2, 3}
    assert all(seen[f"C_INS_{n:03}"] == 1 for n in range(3))


def test_square_roots_share_the_same_total(tmp_path: Path) -> None:
    lines = "".join(many(tmp_path, name, n) for name, n in (("A", 100), ("B", 25), ("C", 4)))
    whole = open_mixture(declared(tmp_path, f"TEXT_ONLY:\n{lines}"))
    roots = open_mixture(declared(tmp_path, f"sample_ratio: sqrt\nTEXT_ONLY:\n{lines}"))
    assert len(whole) == len(roots) == 129
    assert [share.drawn for share in roots.shares()] == [76, 38, 15]


def test_a_seed_draws_the_same_and_another_one_others(tmp_path: Path) -> None:
    path = declared(tmp_path, f"TEXT_ONLY:\n{many(tmp_path, 'A', 200)}    num_samples: 20\n")

    def drawn(seed: int) -> list[str]:
        mixture = open_mixture(path, seed=seed)
        return [mixture.example(n).id for n in range(len(mixture))]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_dataset_draws_the_same_whatever_stands_beside_it(tmp_path: Path) -> None:
    a = f"{many(tmp_path, 'A', 50)}    num_samples: 5\n"
    alone = open_mixture(declared(tmp_path, f"TEXT_ONLY:\n{a}"))
    beside = open_mixture(declared(tmp_path, f"TEXT_ONLY:\n{many(tmp_path, 'B', 3)}{a}"))
    assert [alone.example(n).id for n in range(5)] == [beside.example(n).id for n in range(3, 8)]


def test_the_keys_of_the_train_file_are_the_training_set(tmp_path: Path) -> None:
    """And its values say what is related; `rel_ins_ids` do not count any more."""
    path = toy(tmp_path, "IMAGE_TEXT_IN_CONTEXT", "    train_config_path: TOY_train.json\n")
    train = tmp_path / "TOY_train.json"
    train.write_text(json.dumps({"TOY_INS_000001": []}))
    mixture = open_mixture(path)
    assert len(mixture) == 1
    assert mixture.example(0).id == "TOY_INS_000001"
    assert mixture.example(0).related == ()
    train.write_text(json.dumps({"TOY_INS_000000": ["TOY_INS_000001"]}))
    (related,) = open_mixture(path).example(0).related
    assert related.id == "TOY_INS_000001"
    for each in (bare := {id: dict(each) for id, each in TOY.items()}).values():
        del each["rel_ins_ids"]
    instructions(tmp_path, "TOY", bare)
    assert wrong(path) == {}


def test_images_are_read_out_of_the_store_when_they_are_wanted(tmp_path: Path) -> None:
    path = toy(tmp_path)
    example = open_mixture(path).example(1)
    assert [image.read() for _, image in example.query.images] == [png(1)]


def test_a_sound_mixture_breaks_no_rule(tmp_path: Path) -> None:
    assert wrong(toy(tmp_path, "IMAGE_TEXT_IN_CONTEXT")) == {}


def test_every_dangling_id_is_named_with_file_and_id(tmp_path: Path) -> None:
    path = toy(tmp_path, more="    train_config_path: TOY_train.json\n")
    odd = {
        "lost-image": entry("What?", "This.", ["TOY_IMG_z"]),
        "lost-related": entry("What?", "This.", ["TOY_IMG_a"]),
    }
    instructions(tmp_path, "TOY", TOY | odd)
    train = {"TOY_INS_000000": [], "lost-image": [], "lost-related": ["gone"], "nobody": []}
    (tmp_path / "TOY_train.json").write_text(json.dumps(train))
    found = wrong(path)
    assert {rule: [v.place for v in each] for rule, each in found.items()} == {
        "dangling-image": [f"{tmp_path}/TOY_train.json: lost-image"],
        "dangling-related": [f"{tmp_path}/TOY_train.json: lost-related"],
        "dangling-train": [f"{tmp_path}/TOY_train.json: nobody"],
    }
    assert "'TOY_IMG_z'" in found["dangling-image"][0].message


def test_an_id_in_two_datasets_is_named_with_both_files(tmp_path: Path) -> None:
    instructions(tmp_path, "A", {"same": entry("1", "x"), "own": entry("2", "y")})
    instructions(tmp_path, "B", {"other": entry("3", "z"), "same": entry("4", "w")})
    text = "TEXT_ONLY:\n  A: {mimicit_path: A_instructions.json}\n"
    found = wrong(declared(tmp_path, f"{text}  B: {{mimicit_path: B_instructions.json}}\n"))
    (one,) = found.pop("duplicate-id")
    assert not found
    assert one.place == f"{tmp_path}/B_instructions.json: same"
    assert str(tmp_path / "A_instructions.json") in one.message


def test_two_datasets_may_share_a_file(tmp_path: Path) -> None:
    instructions(tmp_path, "A", {"a": entry("1", "x"), "b": entry("2", "y")})
    text = "TEXT_ONLY:\n  A: {mimicit_path: A_instructions.json}\n"
    path = declared(tmp_path, f"{text}  B: {{mimicit_path: ./A_instructions.json}}\n")
    assert wrong(path) == {}


def test_an_id_twice_in_one_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "A_instructions.json"
    one = json.dumps(entry("1", "x"))
    file.write_text(f'{{"data": {{"a": {one}, "b": {one}, "a": {one}}}}}')
    path = declared(tmp_path, "TEXT_ONLY:\n  A: {mimicit_path: A_instructions.json}\n")
    assert [v.place for v in wrong(path)["duplicate-id"]] == [f"{file}: a"]


def test_torn_files_are_named_and_read_up_to_the_tear(tmp_path: Path) -> None:
    path = toy(tmp_path)
    for name in ("TOY_instructions.json", "TOY.json"):
        file = tmp_path / name
        file.write_text(file.read_text()[:-30])
    found = wrong(path)
    torn = [v.place for v in found["torn"]]
    assert torn[0] == f"{tmp_path}/TOY_instructions.json"
    assert torn[1].startswith(f"{tmp_path}/TOY.json: byte ")
    assert open_mixture(path).example(0).id == "TOY_INS_000000"


def test_what_the_format_forbids_is_told(tmp_path: Path) -> None:
    odd = {
        "tag": entry("What is <image>?", "x"),
        "null": {"instruction": "q", "answer": None, "image_ids": 7, "rel_ins_ids": []},
        "list": [1],
    }
    instructions(tmp_path, "T", odd)
    found = wrong(declared(tmp_path, "TEXT_ONLY:\n  T: {mimicit_path: T_instructions.json}\n"))
    assert found["literal-tag"][0].place.endswith(": tag")
    assert found["missing"][0].place.endswith(": null")
    assert {v.place.rpartition(" ")[2] for v in found["type"]} == {"null", "list"}


def test_an_empty_training_set_is_named(tmp_path: Path) -> None:
    instructions(tmp_path, "A", {})
    path = declared(tmp_path, "TEXT_ONLY:\n  A: {mimicit_path: A_instructions.json}\n")
    assert [*wrong(path)] == ["empty"]
    assert len(open_mixture(path)) == 0


def test_the_images_of_an_epoch_are_counted(tmp_path: Path) -> None:
    path = toy(tmp_path, "IMAGE_TEXT_IN_CONTEXT", "    num_samples: 4\n")
    assert check(open_mixture(path), lambda violation: None).images == [6]


def test_an_unsound_example_is_an_error_of_its_own(tmp_path: Path) -> None:
    path = toy(tmp_path)
    images(tmp_path, "TOY", ["TOY_IMG_a"])
    mixture = open_mixture(path)
    assert mixture.example(0).id == "TOY_INS_000000"
    with pytest.raises(SourceError, match="dangling-image: there is no image 'TOY_IMG_b'"):
        mixture.example(1)


@pytest.mark.parametrize("name", ["TOY_instructions.json", "TOY.json"])
def test_a_file_of_another_kind_is_a_mistake_with_its_place(tmp_path: Path, name: str) -> None:
    path = toy(tmp_path)
    (tmp_path / name).write_text("[1]")
    with pytest.raises(ConfigError, match=r"data\.yaml:2:3: IMAGE_TEXT\.TOY: .*"):
        open_mixture(path)
