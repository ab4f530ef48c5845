"""Old configurations, whole: what becomes of them, and that it does the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.commands import document, mirage
from datasets import load_from_disk

from mirage.cli.import_config import imported
from mirage.config.imported import Imported, import_config
from mirage.errors import ConfigError

from .projects import FILES, NAMES, project

ENVIRONMENT = {"WHO": "me", "OPENAI_API_KEY": "x", "OPENROUTER_API_KEY": "x"}


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project, entered."""
    monkeypatch.chdir(project(tmp_path))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    yield tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_an_old_file_becomes_this_one(old: Path, name: str) -> None:
    """With its comments, and its paths for where it will stand."""
    made = imported(FILES / f"{name}.old.yaml", Path("configs"))
    assert made.text == (FILES / f"{name}.new.yaml").read_text()
    told = [f"{each.line}: {each.path}{': lost' * each.lost}" for each in made.told]
    assert told == (FILES / f"{name}.told.txt").read_text().splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_the_new_file_has_no_mistake_and_runs(old: Path, name: str) -> None:
    """Every row of the old source is in the new dataset, but for those that a filter drops."""
    new = old / "configs" / f"{name}.yaml"
    assert mirage("import-config", FILES / f"{name}.old.yaml", "-o", new).exit_code == 3
    assert mirage("check", new, "--engine", "fake").exit_code == 0
    assert mirage("run", new, "--engine", "fake", "-q").exit_code == 0
    places = {"batch": "out/titles", "engine": "out/me/shards", "processors": "out/photos"}
    rows = load_from_disk(old / places[name] / "merged")
    assert len(rows) == {"batch": 3, "engine": 4, "processors": 2}[name]
    columns = {
        "batch": ["title", "text"],
        "engine": ["conversations"],
        "processors": ["photo", "after", "caption", "author", "grade"],
    }
    assert rows.column_names == columns[name]


def text(**keys: str) -> str:
    """A small old file, in which sections are replaced."""
    sections = {
        "processors": "[{type: llm, server_args: {model_path: m}, "
        "default_sampling_params: {temperature: 0, max_new_tokens: 9}}]",
        "loading_params": "{datasets: [{path: rows.jsonl, type: JSONL}], output_dir: out}",
        "processing_params": "{inputs: [{name: q, key: q}], outputs: [{name: a, type: llm, "
        "prompt: 'say {{ q }}'}], remove_columns: true, output_schema: {a: '{{ a }}'}}",
        **keys,
    }
    return "".join(f"{key}: {value}\n" for key, value in sections.items())


def convert(old: str) -> Imported:
    return import_config(old, "old.yaml", root=Path("/root"), folder=Path("/root"))


def test_nothing_lost_is_exit_code_0(tmp_path: Path) -> None:
    """A file without anything that is not done any more."""
    (tmp_path / "old.yaml").write_text(text())
    result = mirage("import-config", tmp_path / "old.yaml")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "backend: sglang" in result.stdout


def test_what_is_lost_is_told_with_its_line(tmp_path: Path) -> None:
    """Exit code 3; as JSON too, and with nothing else on stdout."""
    path = tmp_path / "old.yaml"
    path.write_text(text(execution_params="\n  mode: slurm\n  account: a1"))
    result = mirage("import-config", path)
    assert result.exit_code == 3
    assert "old.yaml:6: execution_params.account: lost: " in result.stderr
    result = mirage("import-config", path, "--json")
    assert result.exit_code == 3
    said = document(result.stdout)
    assert [(each["path"], each["line"]) for each in said["lost"]] == [
        ("execution_params.account", 6)
    ]
    assert said["text"].startswith("# Made out of old.yaml")


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """Somebody may have edited it."""
    (tmp_path / "old.yaml").write_text(text())
    (tmp_path / "new.yaml").write_text("mine")
    result = mirage("import-config", tmp_path / "old.yaml", "-o", tmp_path / "new.yaml")
    assert result.exit_code == 2
    assert (tmp_path / "new.yaml").read_text() == "mine"


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """Without the number that the machine has for it."""
    result = mirage("import-config", tmp_path / "lost.yaml")
    assert result.exit_code == 2
    assert result.stderr.endswith("lost.yaml: cannot be read: No such file or directory\n")


def test_no_key_is_passed_over() -> None:
    """Whatever stands anywhere in the file, and is known to nobody, is lost and told."""
    old = text(
        surprise="1",
        loading_params="{datasets: [{path: rows.jsonl, type: JSONL, odd: 1}], output_dir: out, "
        "strange: 2}",
        execution_params="{unheard: 3}",
    )
    lost = {each.path for each in convert(old).lost}
    assert lost == {
        "surprise",
        "loading_params.datasets[0].odd",
        "loading_params.strange",
        "execution_params.unheard",
    }


def test_columns_that_cannot_be_seen_are_lost() -> None:
    """Without `remove_columns` they were in the result; here they have to be named."""
    old = text().replace("remove_columns: true, ", "")
    (lost,) = convert(old).lost
    assert lost.path == "processing_params"
    assert "name them" in lost.message


def test_what_sglang_takes_by_itself_is_written_out() -> None:
    """Its temperature is 1 where nothing is said, ours 0: the results would differ."""
    old = text(processors="[{type: llm, server_args: {model_path: m}}]")
    made = convert(old)
    assert "temperature: 1.0" in made.text
    assert "max_new_tokens: 128" in made.text
    assert not made.lost


def test_the_environment_has_no_place_in_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was replaced there is lost; a dollar that named nothing is text, there and here."""
    monkeypatch.setenv("STYLE", "dry")
    old = text().replace("say {{ q }}", "say {{ q }} in $STYLE for $5 or ${NOBODY}")
    made = convert(old)
    assert [each.path for each in made.lost] == ["processing_params.outputs[0].prompt"]
    assert "$STYLE for $5 or ${% raw %}{NOBODY}{% endraw %}" in made.text


def test_several_datasets_go_to_one_place() -> None:
    """A run writes one dataset; that the others had places of their own is told."""
    old = text(
        loading_params="{datasets: [{path: a.jsonl, type: JSONL, output_dir: one}, "
        "{path: b.jsonl, type: JSONL, output_dir: two}]}"
    )
    made = convert(old)
    assert "path: one/merged" in made.text
    assert [each.path for each in made.lost] == ["loading_params.datasets[1].output_dir"]


@pytest.mark.parametrize(
    ("old", "message"),
    [
        ("inputs: []\noutput_schema: {}\n", "ours already"),
        ("engine: {model_path: m}\n", "processing_gen_params"),
        ("- a\n", "a mapping of keys"),
        (text(loading_params="{datasets: []}"), "no datasets"),
        (text(processing_params="[]"), "must be a mapping"),
        (text(loading_params="{datasets: {}}"), "must be a list"),
    ],
)
def test_a_file_of_another_kind_is_a_mistake(old: str, message: str) -> None:
    """With its place, and nothing is made."""
    with pytest.raises(ConfigError, match=message):
        convert(old)
