"""`mirage mix` as it is seen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mixture.test_chat import CHATML, folder
from mixture.toys import TOY, declared, entry, instructions, many, toy

from mirage.cli import mix
from mirage.mixture import checking

from .commands import document, mirage


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def test_an_epoch_is_shown_group_by_group(tmp_path: Path) -> None:
    text = toy(tmp_path).read_text() + f"TEXT_ONLY:\n{many(tmp_path, 'A', 10)}    num_samples: 6\n"
    done = mirage("mix", declared(tmp_path, text))
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[1:5] == [
        ["IMAGE_TEXT", "2", "2", "25.0%"],
        ["TOY", "2", "2", "2", "100.0%"],
        ["TEXT_ONLY", "6", "0", "75.0%"],
        ["A", "10", "6", "0", "100.0%"],
    ]
    assert "every rule is kept" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_rules_that_are_broken_are_told_and_end_with_3(tmp_path: Path) -> None:
    path = toy(tmp_path)
    lost = {f"lost{n}": entry("What?", "This.", ["gone"]) for n in range(9)}
    instructions(tmp_path, "TOY", TOY | lost)
    done = mirage("mix", path)
    assert done.exit_code == 3
    assert "TOY_instructions.json: lost0: dangling-image: there is no image 'gone'" in done.stdout
    assert "dangling-image: 4 more; --json lists them all" in done.stdout
    found = document(mirage("mix", path, "--json").stdout)
    assert (found["ok"], found["broken"]) == (False, {"dangling-image": 9})
    assert len(found["found"]) == 9
    assert found["epoch"]["groups"] == {"IMAGE_TEXT": 11}
    assert found["epoch"]["datasets"][0]["images"] == 11


def test_examples_are_counted_as_they_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are looked at, and those that are written."""
    seen: list[int] = []

    @contextmanager
    def counting() -> Iterator[Callable[[int], None]]:
        yield seen.append

    monkeypatch.setattr(mix, "counting", counting)
    monkeypatch.setattr(checking, "STEP", 1)
    path = toy(tmp_path)
    assert mirage("mix", path).exit_code == 0
    assert seen == [1, 2]
    assert mirage("mix", path, "--to", "llava", "--out", "out.json").exit_code == 0
    assert seen == [1, 2, 2]


def test_mistakes_of_the_yaml_end_with_2(tmp_path: Path) -> None:
    done = mirage("mix", declared(tmp_path, "IMAGE_TEX: {}\nTEXT_ONLY:\n  A: {}\n"))
    assert done.exit_code == 2
    assert done.stderr.splitlines()[0].startswith("data.yaml:1:1: IMAGE_TEX: unknown group")
    assert "data.yaml:3:3: TEXT_ONLY.A.mimicit_path: is required" in done.stderr


def test_texts_are_shown_without_a_target(tmp_path: Path) -> None:
    path = toy(tmp_path)
    assert "<image>User:What colour is it?" in mirage("mix", path, "--render", "simple").stdout
    texts = document(mirage("mix", path, "--render", "simple", "--json").stdout)["texts"]
    assert {text["place"].rpartition(" ")[2] for text in texts} == {*TOY}


def test_an_epoch_is_written_and_told(tmp_path: Path) -> None:
    done = mirage("mix", toy(tmp_path), "--to", "llava", "--out", "out/train.json")
    assert done.exit_code == 0
    assert "read 2 = written 2 + refused 0" in done.stdout
    assert done.stdout.splitlines()[-1] == "next: mirage verify out/train.json --format llava"
    assert len(json.loads((tmp_path / "out/train.json").read_text())) == 2


def test_refused_examples_end_with_3(tmp_path: Path) -> None:
    path = toy(tmp_path)
    instructions(tmp_path, "TOY", TOY | {"lost": entry("What?", "This.", ["gone"])})
    done = mirage("mix", path, "--render", "simple", "--out", "out.jsonl", "--json")
    assert done.exit_code == 3
    found = document(done.stdout)
    assert (found["read"], found["written"], found["refused"]) == (3, 2, 1)
    assert found["failures"].endswith("out.jsonl.failed.jsonl")


def test_a_chat_template_renders_what_it_can_show(tmp_path: Path) -> None:
    folder(tmp_path, CHATML)
    path = declared(tmp_path, f"TEXT_ONLY:\n{many(tmp_path, 'A', 2)}")
    done = mirage("mix", path, "--render", "chat", "--tokenizer", tmp_path, "--out", "out.jsonl")
    assert done.exit_code == 0
    texts = {json.loads(line)["text"] for line in (tmp_path / "out.jsonl").open()}
    assert "<|im_start|>user\nWhat is 1?<|im_end|>\n<|im_start|>assistant\n1.<|im_end|>\n" in texts


@pytest.mark.parametrize(
    "words",
    [
        ("--to", "llava"),
        ("--to", "llava", "--render", "simple", "--out", "x"),
        ("--render", "chat"),
        ("--tokenizer", "."),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert mirage("mix", toy(tmp_path), *words).exit_code == 2
