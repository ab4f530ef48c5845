"""`mirage inspect` as it is seen."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from dataset.test_inspection import lines, llava
from formats.samples import png

from cli.commands import document, mirage
from mirage.cli.table import table


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1.png").write_bytes(png(1))
    long = "A cat that sits on a mat. " * 20
    rows = [llava(f"id-{n}", "1.png", "What?", long[: n + 1]) for n in range(200)]
    return lines(tmp_path / "l.jsonl", *rows, llava("again", "1.png", "What?", "A c"))


def test_a_dataset_is_seen_in_eighty_columns(samples: Path) -> None:
    """The whole, its columns, its samples, and a histogram of answers."""
    told = mirage("inspect", samples, "-n", "1").stdout
    assert max(map(len, told.splitlines())) <= 80
    assert "rows      201 in 1 file" in told
    assert "repeated  1 row (0.5%)" in told
    assert "conversations  list" in told
    assert "201 shown, 1 different" in told
    assert "answers, by characters" in told
    assert "128 - 255" in told
    shown = [line.strip() for line in told.partition("l.jsonl#")[2].splitlines()]
    assert shown[1].startswith("id        id-")
    assert shown[2] == "user      [image] What?"
    assert shown[3].startswith("assistant")


def test_it_is_one_json_document(samples: Path) -> None:
    found = document(mirage("inspect", samples, "--json", "-n", "2", "--limit", "9").stdout)
    assert (found["format"], found["rows"], found["repeated"]) == ("llava", 9, 0)
    assert found["columns"]["image"] == {
        "types": {"text": 9},
        "rows": 9,
        "nulls": 0,
        "length": {"count": 9, **dict.fromkeys(["min", "median", "p95", "max"], 5)}
        | {"histogram": [[4, 7, 9]]},
    }
    assert found["samples"]["answer"]["max"] == 9
    assert found["images"]["types"] == {"image/png": 9}
    assert len(found["shown"]) == 2


def test_rows_against_the_rules_lead_to_verify(samples: Path) -> None:
    samples.write_text(samples.read_text() + json.dumps(llava("x", "1.png", "What?")) + "\n")
    told = mirage("inspect", samples.name, "--format", "llava").stdout
    assert "broken    1 row" in told
    assert told.splitlines()[-1] == "next: mirage verify l.jsonl --format llava"


def test_what_a_dataset_holds_does_not_drive_the_terminal(tmp_path: Path) -> None:
    told = mirage("inspect", lines(tmp_path / "r.jsonl", {"\x1b[31m": "\x1b]0;"}), "-n", "1").stdout
    assert "\x1b" not in told


def test_an_empty_dataset_has_no_table(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("")
    told = mirage("inspect", tmp_path / "r.jsonl").stdout
    assert told.splitlines() == [
        "  format    rows",
        "  rows      0 in 1 file",
        "  repeated  no row",
    ]


def test_names_give_way_where_a_table_is_too_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    made = table(["column", "rows"], [["a" * 60, "1,234,567"], ["b", "1"]]).splitlines()
    assert [len(line) for line in map(click.unstyle, made)] == [40, 40, 40]
    assert made[1].endswith("…  1,234,567")
