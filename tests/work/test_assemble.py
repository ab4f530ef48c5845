"""From journals to a part: nothing is written that was not settled, as it was settled."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson
import pytest
from trust.engine import Scripted
from trust.trial import Trial, questions

from mirage.errors import RunError, SourceChangedError
from mirage.work.assemble import assemble


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """A finished run of one block."""
    trial = Trial(tmp_path, questions(5), Scripted({"Answer this: question 2": None}))
    trial.run()
    return trial


def again(trial: Trial) -> None:
    job = trial.job()
    (block,) = job.folder.blocks()
    assemble(block, job.work)


def journal(trial: Trial, statement: str) -> None:
    path = trial.run_dir / "blocks" / "000000" / "attempt-0000.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def test_a_part_can_be_made_again(trial: Trial) -> None:
    """Twice assembled, a block has the same part, the same failures and the same note."""
    folder = trial.run_dir / "blocks" / "000000"
    files = ("part.jsonl", "failed.jsonl", "part.json")
    before = [(folder / name).read_bytes() for name in files]
    again(trial)
    assert [(folder / name).read_bytes() for name in files] == before
    (failed,) = (orjson.loads(line) for line in before[1].splitlines())
    assert failed["place"] == "0/in.jsonl#2"
    assert failed["step"] == "answer"


def test_a_record_without_an_outcome(trial: Trial) -> None:
    """It is an error that names the record, never a missing row."""
    journal(trial, "DELETE FROM entries WHERE position = 3")
    with pytest.raises(RunError, match=r"in\.jsonl#3 has no outcome"):
        again(trial)


def test_a_row_that_changed_meanwhile(trial: Trial) -> None:
    """An outcome counts for the row that it was reached with, and no other."""
    rows = questions(5)
    rows[1] = {"q": "QUESTION 1"}
    trial.write(rows)
    with pytest.raises(SourceChangedError, match=r"in\.jsonl#1 changed"):
        again(trial)


def test_an_answer_that_was_lost(trial: Trial) -> None:
    """It is an error that a further run mends, for one call."""
    journal(trial, "DELETE FROM calls WHERE id = 1")
    with pytest.raises(RunError, match="run again"):
        again(trial)
    assert trial.run().usage.calls == 1
    assert len(trial.output()) == 4


def test_no_note_while_a_part_is_made(trial: Trial) -> None:
    """Until the new part is whole, the old note does not vouch for it."""
    journal(trial, "DELETE FROM entries WHERE position = 3")
    with pytest.raises(RunError):
        again(trial)
    assert trial.job().folder.note(0) is None


def test_many_rows_refused(tmp_path: Path) -> None:
    """Thousands of rows that do not fit cost no more than others; each is a failed record."""
    rows = [{"q": 1}, *({"q": f"text {number}"} for number in range(3_000))]
    trial = Trial(tmp_path, rows, Scripted(capacity=64), sink={"path": str(tmp_path / "o.parquet")})
    counts = trial.run().counts
    assert (counts.written, counts.failed, counts.rows_failed) == (1, 3_000, 3_000)
    assert counts.failures == {"sink/column": 3_000}
    assert len(trial.failures()) == 3_000
