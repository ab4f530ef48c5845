"""`choices:` of an output, from the configuration to the dataset, on each kind of engine."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mirage.config import parse_config
from mirage.engines.mock import Behaviour, running
from mirage.errors import ConfigError, RunError
from mirage.plan import build

from .trial import Trial

OUTPUT: dict[str, Any] = {"name": "answer", "prompt": "{q}", "choices": "{options}"}
KEYS: dict[str, Any] = {
    "inputs": [{"name": "q", "key": "q"}, {"name": "options", "key": "options"}],
    "outputs": [OUTPUT],
    "output_schema": {
        "q": "{q}", "options": "{options}", "said": "{choice}", "at": "{index}",
        "told": "{answer.logprobs}", "all": "{answer}",
    },
}  # fmt: skip
ROWS = [
    {"q": f"question {n}", "options": [f"{word} {n}" for word in ("red", "blue", "a b", "grün")]}
    for n in range(30)
]


def trial(folder: Path, rows: list[dict[str, Any]] = ROWS, via: str = "", **keys: Any) -> Trial:
    return Trial(folder, rows, via, **{**KEYS, **keys})


def check(rows: list[dict[str, Any]]) -> None:
    """Every row has the likeliest of its own choices, and a number for each."""
    assert [row["q"] for row in rows] == [row["q"] for row in ROWS]
    for row in rows:
        assert row["said"] == row["options"][row["at"]]
        assert row["all"] == {"choice": row["said"], "index": row["at"], "logprobs": row["told"]}
        assert len(row["told"]) == 4 and all(told < 0 for told in row["told"])
        assert row["told"][row["at"]] == max(row["told"])
    assert len({row["at"] for row in rows}) > 1


def test_on_the_fake_engine(tmp_path: Path) -> None:
    """Choices of each row, decided, scored and written, and the same again from the journal."""
    made = trial(tmp_path)
    assert made.run().exit_code == 0
    check(made.output())
    before = made.data()
    made.target.unlink()
    made.set(output_schema={**KEYS["output_schema"], "all": "{answer}"})
    again = made.run()
    assert (again.usage.calls, made.data()) == (0, before)


def test_at_an_endpoint(tmp_path: Path) -> None:
    """One call per row, and one before them that asks whether the endpoint tells at all."""
    with running() as mock:
        made = trial(tmp_path, via=mock.base_url)
        assert made.run().exit_code == 0
        check(made.output())
        assert mock.stats.calls == 31


def test_on_the_model_that_ships(tmp_path: Path) -> None:
    """llama.cpp scores the texts themselves."""
    pytest.importorskip("xllamacpp")
    made = trial(tmp_path, engine={"backend": "llamacpp", "model_path": "demo"})
    assert made.run().exit_code == 0
    check(made.output())


def test_an_endpoint_that_tells_nothing(tmp_path: Path) -> None:
    """The run ends before its first record, and says which output asks for what is not there."""
    with running(Behaviour(ignore_logprobs=True)) as mock:
        made = trial(tmp_path, via=mock.base_url)
        with pytest.raises(RunError, match=r"'answer' has `choices`, and m gives no log-prob"):
            made.run()
        assert mock.stats.calls == 1
        mock.behaviour = Behaviour()
        assert made.run().exit_code == 0


def test_texts_with_references_and_parquet(tmp_path: Path) -> None:
    """Choices may be written out; the numbers are columns like any other."""
    output = {"name": "answer", "prompt": "{q}", "choices": ["yes, {q}", "no, {options[0]}"]}
    made = trial(tmp_path, outputs=[output], sink={"path": str(tmp_path / "out.parquet")})
    assert made.run().exit_code == 0
    import pyarrow.parquet as pq

    table = pq.read_table(made.target)
    assert {str(field.name): str(field.type) for field in table.schema}["at"] == "int64"
    assert {row["said"].split(",")[0] for row in table.to_pylist()} == {"yes", "no"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["one"], "at least two"),
        ([], "at least two"),
        (["a", "a"], "equal"),
        (["a", " a "], "equal"),
        (["a", 3], "not int"),
        (["a", None], "not NoneType"),
        (["a", ["b"]], "not list"),
        (["a", "  "], "empty"),
        ("a text", "no list"),
        ({"a": 1}, "no list"),
        (None, "no list"),
    ],
)
def test_what_cannot_be_decided_fails_its_record(tmp_path: Path, options: Any, says: str) -> None:
    """That record, with the reason, and no other."""
    made = trial(tmp_path, [*ROWS[:3], {"q": "bad", "options": options}, *ROWS[3:]])
    assert made.run().exit_code == 3
    (failure,) = made.failures()
    assert (failure["boundary"], failure["kind"]) == ("template", "choices")
    assert says in failure["message"]
    check(made.output())


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ("[yes]", "at least two"),
        ("[yes please, yes please]", "equal"),
        ('["{q}", ""]', "empty"),
        ("[1, 2]", "must be text, not a number"),
        ("just a text", "neither a list nor a reference"),
        ('"{opttions}"', "did you mean 'options'"),
        ('["a", "{opttions}"]', "did you mean 'options'"),
        ("[a, b]\n    output_type: plain", "remove `output_type`"),
        ("[a, b]\n    output_schema: [x]", "remove `output_schema`"),
        ("[a, b]\n    structured: prompted", "remove `structured`"),
        ("[a, b]\n    many: true", "remove `many`"),
    ],
)
def test_mistakes_have_their_position(choices: str, says: str) -> None:
    """What is wrong whatever the record holds is found before the run, at its line."""
    text = (
        "source: {path: in.jsonl}\nengine: {backend: fake}\n"
        "inputs: [{name: q, key: q}, {name: options, key: options}]\n"
        f"outputs:\n  - name: answer\n    prompt: '{{q}}'\n    choices: {choices}\n"
        "output_schema: {a: '{answer}'}\nsink: {path: out.jsonl}\n"
    )
    with pytest.raises(ConfigError, match=says) as caught:
        build(parse_config(text))
    assert all(mistake.line >= 7 for mistake in caught.value.mistakes)


def test_a_reference_without_quotes() -> None:
    """`choices: {options}` is the reference, as anywhere else."""
    text = (
        "source: {path: in.jsonl}\nengine: {backend: fake}\n"
        "inputs: [{name: q, key: q}, {name: options, key: options}]\n"
        "outputs:\n  - name: answer\n    prompt: '{q}'\n    choices: {options}\n"
        "output_schema: {a: '{answer}'}\nsink: {path: out.jsonl}\n"
    )
    assert build(parse_config(text)).scored == {"default": "answer"}


def test_nothing_is_added_where_there_are_none(tmp_path: Path) -> None:
    """A completion takes six fields in the journal, and a seventh only with choices."""
    for folder, keys, fields in ((tmp_path / "a", {}, 6), (tmp_path / "b", KEYS, 7)):
        folder.mkdir()
        made = Trial(folder, ROWS, **keys)
        assert made.run().exit_code == 0
        (file,) = made.run_dir.glob("blocks/*/attempt-*.sqlite")
        with sqlite3.connect(file) as connection:
            groups = connection.execute("SELECT calls FROM groups").fetchall()
        connection.close()
        assert {len(call) for (calls,) in groups for call in json.loads(calls)} == {fields}


def test_scores_survive_a_change_of_the_source(tmp_path: Path) -> None:
    """What was paid for is carried over, its numbers included."""
    made = trial(tmp_path)
    made.run()
    before = made.output()
    made.write([*reversed(ROWS)])
    again = made.run(accept_changes=True)
    assert (again.exit_code, again.usage.calls) == (0, 0)
    assert made.output() == [*reversed(before)]


def test_temperature_draws_nothing(tmp_path: Path) -> None:
    """Equal questions share one call at any temperature: a score is no draw."""
    rows = [ROWS[0]] * 5
    with running() as mock:
        engine = {"sampling": {"temperature": 1.0, "max_tokens": 300}}
        made = trial(tmp_path, rows, mock.base_url, engine=engine)
        assert made.run().exit_code == 0
        assert mock.stats.calls == 2
    assert len({json.dumps(row) for row in made.output()}) == 1
    assert all(math.isfinite(told) for row in made.output() for told in row["told"])
