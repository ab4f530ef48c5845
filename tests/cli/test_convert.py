"""`mirage convert` and `mirage verify` as they are seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
