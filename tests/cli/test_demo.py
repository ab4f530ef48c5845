"""`mirage demo`, with the fake engine in the place of the models that ship."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mirage import api
from mirage.cli import demo
from mirage.engines.mock import Behaviour, running

from .commands import document, mirage, project


def test_all_datasets_are_made_and_shown(tmp_path: Path) -> None:
    """The sums of the runs add up, and three records of each stand side by side."""
    out = tmp_path / "demo"
    result = mirage("demo", "--out", out, "--engine", "fake")
    assert result.exit_code == 0
    assert result.stdout.count("read 200 = written 200 + dropped 0 + failed 0") == 2
    assert result.stdout.count("How do I clean a window?") >= 2
    assert result.stdout.count("read 120 = written 120 + dropped 0 + failed 0") == 1
    assert result.stdout.count("[001.png]") == 1
    assert result.stdout.count("├") == 9
    assert len((out / "markdown.jsonl").read_text().splitlines()) == 200
    assert set(json.loads((out / "questions.jsonl").open().readline())) == {"conversations"}
    first = json.loads((out / "detailed.jsonl").open().readline())
    assert list(first) == ["image", "caption", "original_caption"]
    assert "next:" not in result.stdout.splitlines()[-1]  # another engine was chosen already
    assert first["image"] == "001.png"


def test_again_it_pays_for_nothing(tmp_path: Path) -> None:
    """A second time, all runs find everything done."""
    mirage("demo", "--out", tmp_path, "--engine", "fake")
    again = document(mirage("demo", "--out", tmp_path, "--engine", "fake", "--json").stdout)
    assert [run["usage"]["calls"] for run in again.values()] == [0, 0, 0]
    assert [run["counts"]["written"] for run in again.values()] == [200, 200, 120]


def test_what_fails_is_shown(tmp_path: Path) -> None:
    """A failed record is counted, and stands beside what the model said of it."""
    with running(Behaviour(malformed=0.4)) as server:
        result = mirage("demo", "--out", tmp_path, "--engine", f"m@{server.base_url}")
    assert result.exit_code == 3
    assert "failed: " in result.stdout


def test_before_and_after_belong_together(tmp_path: Path) -> None:
    """Where some records failed, the others still stand beside what became of them."""
    config = project(tmp_path, engine="{backend: fake, args: {fail: 0.3}}")
    summary = api.run(config)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").open()]
    found = list(demo.pairs(rows, summary))
    assert 0 < len(found) == summary.counts.written < len(rows)
    assert all(before["q"] == after["question"] for before, after in found)


def test_the_third_example_runs_on_the_shipped_model(tmp_path: Path) -> None:
    """As the document writes it, with flags for rows, dataset and engine: captions get better."""
    pytest.importorskip("xllamacpp")
    config, flags = demo.lay_out(demo.ALL[2], tmp_path, demo.MODEL)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    result = mirage("run", config, *words, "--limit", "10")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "detailed.jsonl").open()]
    given = [json.loads(line) for line in (tmp_path / "captions.jsonl").open()][:10]
    assert [row["image"] for row in rows] == [row["image"] for row in given]
    assert [row["original_caption"] for row in rows] == [row["caption"] for row in given]
    sentences = [row["caption"].partition(".")[0].split(" ", 1)[-1] for row in rows]
    assert sum("shape" in text for text in sentences) == 5
    assert sum("bar chart" in text for text in sentences) == 4
    assert [row["caption"] for row in rows].count("Nothing I know.") == 1
