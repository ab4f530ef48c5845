"""`mirage convert` and `mirage verify` as they are seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from formats.samples import png

from cli.commands import mirage

TOY = Path(__file__).parents[1] / "formats" / "golden" / "mimic-it" / "TOY"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_dataset_says_of_itself_what_it_is_told() -> None:
    """`--meta`, any number of times."""
    told = mirage(
        "convert", TOY, "OUT", "--to", "mimic-it", "--meta", "author=us", "--meta", "time=now"
    )
    assert told.exit_code == 0
    whole = json.loads(Path("OUT/OUT_instructions.json").read_text())
    assert whole["meta"] == {"version": "0.0.1", "time": "now", "author": "us"}


@pytest.mark.parametrize("given", ["author", "=us"])
def test_what_is_no_key_and_value_is_a_mistake(given: str) -> None:
    """Told before anything is read."""
    told = mirage("convert", TOY, "OUT", "--to", "mimic-it", "--meta", given)
    assert told.exit_code == 2
    assert "KEY=VALUE" in told.stderr


def test_a_store_that_stands_elsewhere_is_named() -> None:
    """With `--images-store`; without it, images dangle."""
    Path("TOY_instructions.json").write_bytes((TOY / "TOY_instructions.json").read_bytes())
    lacking = mirage("verify", "TOY_instructions.json")
    assert lacking.exit_code == 3
    assert "6 dangling-image" in lacking.stdout
    told = mirage("verify", "TOY_instructions.json", "--images-store", TOY / "TOY.json", "--json")
    assert told.exit_code == 0
    assert json.loads(told.stdout)["images"] == 2


def test_a_dataset_of_several_files_is_recognised() -> None:
    """By its instructions, although a store stands beside them."""
    told = mirage("convert", TOY, "out.jsonl", "--json")
    assert json.loads(told.stdout)["from"] == "mimic-it"


def pair(image: str = "1.png") -> dict[str, Any]:
    said = [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": "A cat."}]
    return {"id": "1", "image": image, "conversations": said}


def test_what_was_written_is_verified_as_that() -> None:
    """The next command names the format, which rows alone need not tell."""
    Path("1.png").write_bytes(png(1))
    Path("l.json").write_text(json.dumps([pair()]))
    told = mirage("convert", "l.json", "out.parquet", "--to", "trl")
    words = told.stdout.splitlines()[-1].removeprefix("next: mirage ").split()
    assert words == ["verify", "out.parquet", "--format", "trl"]
    assert "format    trl" in mirage(*words).stdout
    done = json.loads(mirage("convert", "l.json", "out.jsonl", "--to", "trl", "--json").stdout)
    assert (done["ok"], done["dataset"]) == (True, "out.jsonl")


def test_the_first_row_that_is_refused_is_shown() -> None:
    """With its place and its reason; a count says nothing of what to do."""
    Path("l.json").write_text(json.dumps([pair("lost.png")]))
    told = mirage("convert", "l.json", "out.parquet", "--to", "trl")
    assert told.exit_code == 3
    assert "0/l.json#0: no llava row: image-missing: no such file: 'lost.png'" in told.stdout


@pytest.mark.parametrize("flag", ["--from", "--to"])
def test_an_unknown_format_is_one_line(flag: str) -> None:
    """It lists those that there are, and which one is meant."""
    Path("l.json").write_text("[]")
    told = mirage("convert", "l.json", "out.json", flag, "lava")
    assert told.exit_code == 2
    (line,) = told.stderr.splitlines()
    assert line.startswith("format: must be one of jsonl, ")
    assert line.endswith("not 'lava'; did you mean 'llava'?")


def test_a_folder_of_images_that_is_not_there_is_a_mistake() -> None:
    """One line, not one for every image."""
    Path("l.json").write_text(json.dumps([pair()]))
    for command in (["verify", "l.json"], ["inspect", "l.json"], ["convert", "l.json", "o.jsonl"]):
        told = mirage(*command, "--image-base-path", "photos")
        assert told.exit_code == 2
        assert told.stderr.endswith("photos does not exist\n")


def test_a_mistake_of_no_configuration_is_the_error_itself() -> None:
    """In JSON as on the terminal."""
    told = json.loads(mirage("verify", "lost.json", "--json").stdout)
    assert told["error"].endswith("lost.json does not exist")


def test_a_sum_that_is_right_is_said_to_be() -> None:
    """Of an archive nothing else is looked at."""
    Path("a.zip").write_bytes(b"whatever")
    sums = {"008c5926ca861023c1d2a36653fd88e2": 0, "0" * 32: 3}
    for given, code in sums.items():
        told = mirage("verify", "a.zip", "--md5", given)
        assert told.exit_code == code
        assert ("as it should be" in told.stdout) == (code == 0)


def test_nothing_takes_the_place_of_a_dataset() -> None:
    """Where every row is refused, the dataset of before stands; the rows are listed."""
    Path("out.json").write_text("[the dataset of before]")
    Path("in.json").write_text(json.dumps([{"id": "1", "conversations": "What?"}]))
    told = mirage("convert", "in.json", "out.json", "--from", "llava", "--to", "sharegpt")
    assert told.exit_code == 3
    assert "nothing was written" in told.stdout
    assert Path("out.json").read_text() == "[the dataset of before]"
    assert json.loads(Path("out.json.failed.jsonl").read_text())["kind"] == "format"
