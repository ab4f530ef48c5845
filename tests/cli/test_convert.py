"""`mirage convert` and `mirage verify` as they are seen."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

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


ROW = b'{"messages":[{"role":"user","content":"Why?"},{"role":"assistant","content":"So."}]}\n'


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("in/a.jsonl", "in/a.jsonl"),
        ("in/a.jsonl", "link.jsonl"),
        ("in/a.jsonl", "in"),
        ("in", "in/b.jsonl"),
        ("in/*.jsonl", "in/b.jsonl"),
        ("in/b.json.failed.jsonl", "in/b.json"),
    ],
)
def test_what_is_read_is_never_written_over(source: str, out: str) -> None:
    """Nor would a second conversion read what the first one wrote; the list of failures counts."""
    Path("in").mkdir()
    for name in ("a.jsonl", "b.json.failed.jsonl"):
        Path("in", name).write_bytes(ROW)
    Path("link.jsonl").symlink_to("in/a.jsonl")
    told = mirage("convert", source, out, "--to", "messages")
    assert told.exit_code == 2
    assert "choose another path" in told.stderr
    assert {path.name: path.read_bytes() for path in Path("in").iterdir()} == {
        "a.jsonl": ROW,
        "b.json.failed.jsonl": ROW,
    }


def test_names_of_formats_stand_apart_from_their_files() -> None:
    """The longest name, too."""
    lines = mirage("formats").stdout.splitlines()
    assert lines[2].split() == ["trl-preference", "parquet,", "hf,", "jsonl,", "json"]
    assert len({line.index(line.split()[1], 4) for line in lines}) == 1


def test_sigterm_ends_a_conversion_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its cleaning up; whoever started the command has SIGTERM as it was."""
    before = signal.getsignal(signal.SIGTERM)
    Path("in.jsonl").write_bytes(ROW)

    def ended(*given: Any, **further: Any) -> None:
        assert any(path.name.startswith(".mirage-") for path in Path("out").iterdir())
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("mirage.dataset.conversion.write", ended)
    told = mirage("convert", "in.jsonl", "out/train.jsonl", "--to", "messages")
    assert (told.exit_code, told.stderr) == (130, "error: interrupted\n")
    assert list(Path("out").iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_format_that_is_none_is_a_mistake_of_one_line() -> None:
    """With the name that was meant."""
    Path("in.jsonl").write_bytes(ROW)
    for words in (
        ("convert", "in.jsonl", "x", "--to", "lava"),
        ("verify", "x", "--format", "lava"),
    ):
        told = mirage(*words)
        assert told.exit_code == 2
        assert told.stderr.startswith("must be one of jsonl, json")
        assert told.stderr.endswith("not 'lava'; did you mean 'llava'?\n")
