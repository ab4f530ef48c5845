"""`mirage check`, `mirage init` and `mirage schema`."""

from __future__ import annotations

import os
from pathlib import Path

import jsonschema
import pytest

from mirage.config.editor import json_schema

from .commands import document, mirage, project


def test_check_says_what_would_run_and_runs_nothing(tmp_path: Path) -> None:
    """Source, engine, inputs, outputs in running order, sink and run folder."""
    config = project(tmp_path, more="  - {name: even, type: filter, keep: n % 2 == 0}\n")
    result = mirage("check", config)
    assert result.exit_code == 0
    for said in ("rows.jsonl", "fake", "q = q", "1. a: a model answers", "2. even: keeps where n"):
        assert said in result.stdout
    assert result.stdout.splitlines()[-1] == f"next: mirage run {config}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ask.yaml", "rows.jsonl"]


def test_check_says_which_backend_was_inferred(tmp_path: Path) -> None:
    """An address alone means an OpenAI-compatible endpoint; its password is not shown."""
    where = "{base_url: 'http://me:secret@127.0.0.1:9/v1', model_path: m, headers: {X-Key: secret}}"
    config = project(tmp_path, engine=where)
    result = mirage("check", config)
    assert "openai (inferred), m at http://***@127.0.0.1:9/v1" in result.stdout
    found = document(mirage("check", config, "--json").stdout)
    assert found["engines"]["default"]["inferred"] is True
    assert "secret" not in result.output + str(found)


def test_check_names_each_of_several_engines(tmp_path: Path) -> None:
    """One line per engine, apart from its name."""
    config = project(tmp_path)
    text = config.read_text().replace(
        "engine: {", "engines:\n  writer: {base_url: 'http://h', model_path: m}\n  x: {"
    )
    config.write_text(text.replace("name: a, ", "name: a, engine: writer, "))
    said = [" ".join(line.split()) for line in mirage("check", config).stdout.splitlines()]
    assert "engines writer = openai (inferred), m at http://h, 64 calls at once" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def shout(q): return q", "has no 'shuot'; did you mean 'shout'?"),
        ("def shuot(q) return q", "is not Python: expected ':'"),
        ("from os import *", ""),
        ("from os.path import join as shuot", ""),
    ],
)
def test_check_looks_for_functions(tmp_path: Path, text: str, says: str) -> None:
    """In the file, without running it: a name that is not there would fail every record."""
    (tmp_path / "steps.py").write_text(text)
    more = "  - {name: b, type: python, file: steps.py, function: shuot}\n"
    result = mirage("check", project(tmp_path, more=more))
    assert result.exit_code == (2 if says else 0)
    assert says in result.output


def test_check_knows_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found before the first call is paid for: a file in the way, or a folder that is read-only."""
    config = project(tmp_path)
    result = mirage("check", config, "--sink", config / "x.jsonl")
    assert (result.exit_code, f"sink.path: {config} is no folder" in result.stderr) == (2, True)
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)  # root may write it
    assert f"{tmp_path} cannot be written to" in mirage("check", config).stderr


@pytest.mark.parametrize(
    ("source", "sink", "wrong"),
    [
        ("rows.jsonl", "rows.jsonl", ["sink.path"]),
        ("*.jsonl", "out.jsonl", ["sink.path"]),
        ("*.jsonl", "out/all.jsonl", []),
        ("**/*.jsonl", "out/all.jsonl", ["sink.path", "run.dir"]),
        (".", "out.jsonl", ["sink.path", "run.dir"]),
        ("data", "data/out.jsonl", ["sink.path"]),
        ("data", "out.jsonl", []),
        ("data/part-*.jsonl", "data/", ["sink.path"]),
    ],
)
def test_a_run_never_writes_what_it_reads(
    tmp_path: Path, source: str, sink: str, wrong: list[str]
) -> None:
    """Neither over its source, nor among the files that the next run would take for rows."""
    config = project(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "part-1.jsonl").write_bytes((tmp_path / "rows.jsonl").read_bytes())
    text = config.read_text().replace("path: rows.jsonl", f"path: '{source}', format: jsonl")
    config.write_text(text.replace("path: out.jsonl", f"path: {sink}, format: jsonl"))
    result = mirage("check", config, "--json")
    found = document(result.stdout)
    assert [mistake["path"] for mistake in found.get("mistakes", [])] == wrong
    assert all("among the rows" in mistake["message"] for mistake in found.get("mistakes", []))


def test_check_tells_all_mistakes_at_once(tmp_path: Path) -> None:
    """On stderr, in the order of their lines; as JSON with their fields."""
    config = project(tmp_path)
    config.write_text(config.read_text().replace("key: n}", "kee: n}").replace("sink", "snik"))
    result = mirage("check", config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == [
        "inputs[1].key",
        "inputs[1].kee",
        "snik",
    ]
    found = document(mirage("check", config, "--json").stdout)
    assert found["exit_code"] == 2
    assert [mistake["line"] for mistake in found["mistakes"]] == [5, 5, 9]


def test_the_schema_is_the_one_of_the_configuration() -> None:
    """What is printed is JSON, and the schema itself."""
    assert document(mirage("schema").stdout) == json_schema()


def test_init_writes_a_configuration_that_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The starter is valid, knows its schema, and runs on rows of the shape that it describes."""
    monkeypatch.chdir(tmp_path)
    turns = '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]'
    (tmp_path / "data.jsonl").write_text(f'{{"conversations": {turns}}}\n')
    assert mirage("init").exit_code == 0
    text = Path("mirage.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=mirage.schema.json")
    assert document(Path("mirage.schema.json").read_text()) == json_schema()
    assert mirage("check", "mirage.yaml").exit_code == 0
    assert mirage("run", "mirage.yaml").exit_code == 0
    assert Path("out/train.jsonl").exists()


def test_the_starter_is_valid_with_all_that_it_comments_out(tmp_path: Path) -> None:
    """Every key in its comments is one that the schema knows."""
    from ruamel.yaml import YAML

    mirage("init", tmp_path / "x.yaml")
    lines = (tmp_path / "x.yaml").read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("source:"))
    body = [
        line.replace("# ", "", 1) if line.lstrip().startswith("# ") else line
        for line in lines[start:]
    ]
    body = [line for line in body if "model_path: demo" not in line]
    found = YAML(typ="safe", pure=True).load("\n".join(body))
    jsonschema.validate(found, json_schema())
    assert [output["name"] for output in found["outputs"]][1:] == ["verdict", "fitting"]


def test_init_never_overwrites(tmp_path: Path) -> None:
    """A file that is there stays as it is: exit code 2."""
    there = tmp_path / "mirage.yaml"
    there.write_text("mine")
    for path in (there, tmp_path):
        result = mirage("init", path, "--json")
        assert result.exit_code == 2
        assert "is there already" in document(result.stdout)["error"]
    assert there.read_text() == "mine"
    assert not (tmp_path / "mirage.schema.json").exists()


def test_several_endpoints_are_told_as_a_user_writes_them(tmp_path: Path) -> None:
    """Addresses with commas between them."""
    engine = "{base_url: ['http://a/v1', 'http://me:pw@b/v1'], model_path: m}"
    result = mirage("check", project(tmp_path, engine=engine))
    assert "m at http://a/v1, http://***@b/v1, 64 calls" in " ".join(result.stdout.split())
