"""Every record ends in exactly one outcome, in order, and is paid for once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mirage.engines.mock import Behaviour, running
from mirage.merge import merge
from mirage.status import status

from .engine import Scripted
from .trial import OUTPUTS, Trial, questions


def test_duplicates_are_records_of_their_own(tmp_path: Path) -> None:
    """1,000 equal rows and 50 duplicates among them come out as 1,050 rows, in order."""
    rows = [{"q": "the same"}] * 1_000 + questions(25) * 2
    random.Random(0).shuffle(rows)
    with running(Behaviour()) as server:
        trial = Trial(tmp_path, rows, server.base_url)
        summary = trial.run()
        assert [row["q"] for row in trial.output()] == [row["q"] for row in rows]
        assert summary.counts.written == 1_050
        assert server.stats.calls == 26


def test_equal_records_are_draws_of_their_own(tmp_path: Path) -> None:
    """A hundred equal rows at temperature 1 are a hundred calls, and none when it is run again."""
    with running(Behaviour(random=True)) as server:
        trial = Trial(tmp_path, [{"q": "the same"}] * 100, server.base_url)
        trial.set(engine={"sampling": {"temperature": 1.0}})
        trial.run()
        answers = [row["answer"] for row in trial.output()]
        assert server.stats.calls == len(set(answers)) == 100
        trial.target.unlink()
        trial.run()
        assert server.stats.calls == 100
        assert [row["answer"] for row in trial.output()] == answers


def test_the_same_draws_come_again(tmp_path: Path) -> None:
    """Two runs with one seed draw the same, and a run with another seed draws anew."""
    trial = Trial(tmp_path, questions(20), engine={"sampling": {"temperature": 1.0}})
    trial.run()
    first = trial.data()
    trial.forget()
    trial.set(engine={"max_in_flight": 1})
    trial.run()
    assert trial.data() == first
    trial.set(run={"seed": 1})
    trial.run()
    assert trial.data() != first


def test_an_empty_source_gives_an_empty_dataset(tmp_path: Path) -> None:
    """A source without rows is a dataset without rows, not an error."""
    trial = Trial(tmp_path)
    trial.source.touch()
    summary = trial.run()
    assert summary.exit_code == 0
    assert trial.data() == b""


FAILED = {"engine": ({"q": "{q}"}, None), "sink": ({"messages": "{answer}"}, "an answer")}


@pytest.mark.parametrize("boundary", FAILED)
def test_failures_alone_take_the_place_of_no_dataset(tmp_path: Path, boundary: str) -> None:
    """Where no record came through, the dataset of before stands, and its manifest with it."""
    schema, answer = FAILED[boundary]
    told = "Answer this: question "
    trial = Trial(tmp_path, questions(3), Scripted({f"{told}{n}": answer for n in range(3)}))
    trial.set(output_schema=schema, sink={"format": "trl" if boundary == "sink" else "jsonl"})
    trial.target.write_text("the dataset of before")
    summary = trial.run()
    assert (summary.exit_code, summary.counts.failed, summary.published) == (3, 3, False)
    assert {each["boundary"] for each in trial.failures()} == {boundary}
    assert trial.data() == b"the dataset of before"
    assert not (tmp_path / "out.jsonl.manifest.json").exists()
    assert status(trial.run_dir).dataset == ""
    assert list(summary.rows()) == []
    assert merge(trial.job()).counts.fruitless
    assert trial.data() == b"the dataset of before"


@pytest.mark.parametrize("answer", ["one", None])
def test_a_filter_may_leave_nothing(tmp_path: Path, answer: str | None) -> None:
    """Dropped on purpose, all records but one that failed: the dataset is empty."""
    outputs = [*OUTPUTS, {"name": "none", "type": "filter", "keep": "False"}]
    script = Scripted({"Answer this: question 1": answer})
    trial = Trial(tmp_path, questions(3), script, outputs=outputs)
    trial.target.write_text("the dataset of before")
    assert trial.run().published
    assert trial.data() == b""
