"""A configuration made ready: every mistake of source, sink and engine, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trust.trial import Trial, questions

from mirage.errors import ConfigError
from mirage.given import loaded
from mirage.job import prepare


def mistakes(trial: Trial) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        trial.job()
    return [str(mistake) for mistake in caught.value.mistakes]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path, questions(3))


def test_a_key_that_matches_nothing(trial: Trial) -> None:
    """It is one mistake with what the rows hold, not a thousand failures."""
    trial.set(inputs=[{"name": "q", "key": "questoin"}])
    trial.write([{"question": "x"}])
    (mistake,) = mistakes(trial)
    assert "'questoin' matches nothing in the first 1 rows" in mistake
    assert "question" in mistake


def test_a_key_that_some_rows_lack(trial: Trial) -> None:
    """It is those rows' failure."""
    trial.write([{"other": 1}, {"q": "x"}])
    assert trial.run().counts.failed == 1


def test_a_source_that_is_not_there(trial: Trial, tmp_path: Path) -> None:
    """It is named, with the place in the configuration."""
    trial.set(source={"path": str(tmp_path / "nowhere.jsonl")})
    (mistake,) = mistakes(trial)
    assert "source.path" in mistake
    assert "nowhere.jsonl does not exist" in mistake


@pytest.mark.parametrize("missing", ["source", "sink", "engine"])
def test_what_is_not_given(trial: Trial, missing: str) -> None:
    """The message says how to give it."""
    del trial.config[missing]
    assert any(f"no {missing} is given" in mistake for mistake in mistakes(trial))


def test_mistakes_come_together(trial: Trial, tmp_path: Path) -> None:
    """Source, sink, engine and prompt: all in one go."""
    trial.set(
        source={"path": str(tmp_path / "nowhere.jsonl")},
        sink={"path": "out.unknown"},
        engine={"args": {"wrong": 1}},
        outputs=[{"name": "answer", "prompt": "{nothing}"}],
    )
    found = "\n".join(mistakes(trial))
    assert all(word in found for word in ("nowhere.jsonl", "out.unknown", "nothing"))


def test_several_workers_do_not_launch_each(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of every worker would want the same GPUs; one worker on each node is no trouble."""
    trial.set(engine={"backend": "vllm", "model_path": "m", "launch": True}, run={"workers": 2})
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert any("one process launches for all" in mistake for mistake in mistakes(trial))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert not any("one process launches for all" in mistake for mistake in mistakes(trial))


def test_rows_of_a_program_need_no_sink(trial: Trial) -> None:
    """Their dataset is in the run's folder."""
    del trial.config["source"], trial.config["sink"]
    job = prepare(loaded(trial.config, {}), questions(2))
    assert job.target == trial.run_dir / "rows.jsonl"


@pytest.mark.parametrize("rows", ["text", b"bytes", {"a": 1}])
def test_rows_that_are_none(trial: Trial, rows: Any) -> None:
    """A string or a single mapping is no dataset."""
    with pytest.raises(ConfigError, match="rows"):
        prepare(loaded(trial.config, {}), rows)
