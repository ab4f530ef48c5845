"""What a run's folder remembers of how it was started, and what `retry` recalls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mirage import api
from mirage.errors import ConfigError
from mirage.given import flags, loaded
from mirage.job import prepare
from mirage.note import recall, remember

CONFIG = """
source: [{path: a.jsonl}, {path: b.jsonl}]
engine: {backend: fake}
inputs: [{name: q, key: q}]
outputs: [{name: a, prompt: "{q}"}]
output_schema: {a: "{a}"}
sink: {path: out.jsonl}
"""

PLAIN = {
    "engine": {"backend": "fake"},
    "inputs": [{"name": "q", "key": "q"}],
    "outputs": [{"name": "a", "prompt": "{q}"}],
    "output_schema": {"a": "{a}"},
}


def folder(root: Path) -> Path:
    for name in ("a", "b"):
        (root / f"{name}.jsonl").write_text('{"q": "x"}\n{"q": "y"}\n')
    config = root / "c.yaml"
    config.write_text(CONFIG)
    return config


def note(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "run.json").read_text())
    return found


def test_flags_are_remembered_in_the_shape_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute paths, and a limit that goes to each source of a list."""
    config = folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    api.run("c.yaml", sink="x.jsonl", limit=1, run_dir="r")
    flags = {"sink": {"path": str(tmp_path / "x.jsonl")}, "run": {"dir": str(tmp_path / "r")}}
    flags["source"] = {"limit": 1}  # type: ignore[dict-item]
    assert note(tmp_path / "r") == {"config": str(config), "flags": flags}


def test_a_moved_folder_is_retried_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder given counts, not the one that was remembered."""
    config = folder(tmp_path)
    api.run(config, run_dir=str(tmp_path / "r"))
    (tmp_path / "r").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    summary = api.retry(tmp_path / "moved")
    assert (summary.folder, summary.usage.calls) == (tmp_path / "moved", 0)


def test_another_folder_to_start_from_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same configuration by a relative and an absolute path is the same run."""
    config = folder(tmp_path)
    text = config.read_text().replace("key: q}", "key: q, image_base_path: pictures}")
    config.write_text(text)
    monkeypatch.chdir(tmp_path)
    api.run("c.yaml", run_dir="r")
    monkeypatch.chdir("/")
    assert api.run(config, run_dir=str(tmp_path / "r")).usage.calls == 0
    assert (tmp_path / "r" / "blocks" / "000000" / "attempt-0001.sqlite").exists() is False


def test_rows_from_python_cannot_be_recalled(tmp_path: Path) -> None:
    """A run of rows in memory is not remembered, and retry says so."""
    config = folder(tmp_path)
    api.run(config, [{"q": "x"}], run_dir=str(tmp_path / "r"))
    with pytest.raises(ConfigError, match=r"holds no run\.json"):
        api.retry(tmp_path / "r")


def test_secrets_in_flags_are_not_stored(tmp_path: Path) -> None:
    """A password in an engine's address is left out, and retry says what to do."""
    config = folder(tmp_path)
    started = loaded(config, flags(engine="m@http://me:hidden@127.0.0.1:9/v1"))
    job = prepare(loaded(config, {"run": {"dir": str(tmp_path / "r")}}))
    remember(type(job)(started, job.work, job.engines, job.target))
    assert "hidden" not in (tmp_path / "r" / "run.json").read_text()
    with pytest.raises(ConfigError, match="environment variable"):
        recall(tmp_path / "r")


def test_configurations_without_a_file_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named after what they say: the same one goes on, another one starts anew."""
    monkeypatch.chdir(tmp_path)
    first = api.run(PLAIN, rows=[{"q": "x"}])
    again = api.run(PLAIN, rows=[{"q": "x"}])
    other = api.run({**PLAIN, "output_schema": {"b": "{a}"}}, rows=[{"q": "y"}])
    assert first.folder.name.startswith("run-")
    assert (again.folder, again.usage.calls) == (first.folder, 0)
    assert other.folder != first.folder


@pytest.mark.parametrize(
    "sink",
    [
        {"path": "o.jsonl"},
        {"path": "o.parquet"},
        {"path": "p/", "format": "parquet"},
        {"path": "j/", "format": "jsonl"},
        {"path": "h", "format": "hf"},
    ],
)
def test_the_summary_reads_any_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sink: dict[str, str]
) -> None:
    """Its rows, all of them and in order, from a file or a folder of several parts."""
    monkeypatch.chdir(tmp_path)
    config = {**PLAIN, "output_schema": {"q": "{q}"}, "sink": sink, "run": {"block_rows": 3}}
    rows = [{"q": f"row {n}"} for n in range(8)]
    assert list(api.run(config, rows=rows).rows()) == rows


def test_paths_may_be_paths(tmp_path: Path) -> None:
    """In a mapping and as arguments, as well as text."""
    folder(tmp_path)
    config = {**PLAIN, "source": {"path": tmp_path / "a.jsonl"}}
    assert api.run(config, sink=tmp_path / "o.jsonl", run_dir=tmp_path / "r").counts.written == 2


@pytest.mark.parametrize("rows", ["rows.jsonl", {"q": ["x"]}])
def test_rows_that_are_none_are_a_mistake(tmp_path: Path, rows: object) -> None:
    """A path or a mapping of columns is no sequence of rows."""
    with pytest.raises(ConfigError, match="rows: they are a sequence of mappings"):
        api.run(PLAIN, rows=rows, run_dir=tmp_path / "r")  # type: ignore[arg-type]


@pytest.mark.parametrize("config", [None, {**PLAIN, "run": {"seed": object()}}])
def test_what_is_no_configuration_is_a_mistake(config: object) -> None:
    """Neither a traceback of a library's, nor a guess."""
    with pytest.raises(ConfigError, match="configuration"):
        api.run(config, rows=[])  # type: ignore[arg-type]


def test_a_run_is_found_again_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands beside its configuration: nothing is paid twice, wherever the command is given."""
    config = folder(tmp_path)
    first = api.run(config)
    monkeypatch.chdir("/")
    again = api.run(config)
    assert (again.folder, again.usage.calls) == (first.folder, 0)
    assert first.folder == tmp_path / "runs" / "c"
