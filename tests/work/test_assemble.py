"""From journals to a part: nothing is written that was not settled, as it was settled."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from trust.engine import Scripted
from trust.trial import Trial, questions

from mirage.errors import RunError, SourceChangedError
from mirage.journal.attempts import ADD, GROUPS, hash_of, split
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


def alter(trial: Trial, keep: Callable[[bytes, list[Any], list[Any]], Sequence[Any]]) -> None:
    """Write every group of the journal anew, with the keys, calls and entries that `keep` gives."""
    path = trial.run_dir / "blocks" / "000000" / "attempt-0000.sqlite"
    with sqlite3.connect(path) as connection:
        groups = connection.execute(f"{GROUPS} ORDER BY id").fetchall()
        connection.execute("DELETE FROM groups")
        for _, fingerprint, keys, calls, entries, _ in groups:
            keys, calls, entries = keep(keys, orjson.loads(calls), orjson.loads(entries))
            row = (fingerprint, keys, orjson.dumps(calls), orjson.dumps(entries))
            connection.execute(ADD, (*row, hash_of(*row)))
    connection.close()


def without_entry(keys: bytes, calls: list[Any], entries: list[Any]) -> Sequence[Any]:
    return keys, calls, [entry for entry in entries if entry[0] != 3]


def without_call(keys: bytes, calls: list[Any], entries: list[Any]) -> Sequence[Any]:
    numbers = [number for number, call in enumerate(calls) if "question 1" not in call[0]]
    return b"".join(split(keys)[n] for n in numbers), [calls[n] for n in numbers], entries


def test_a_part_can_be_made_again(trial: Trial) -> None:
    """Twice assembled, a block has the same part, the same failures and the same note."""
    folder = trial.run_dir / "blocks" / "000000"
    files = ("part-0001.jsonl", "failed.jsonl", "part.json")
    before = [(folder / name).read_bytes() for name in files]
    again(trial)
    assert [(folder / name).read_bytes() for name in files] == before
    (failed,) = (orjson.loads(line) for line in before[1].splitlines())
    assert failed["place"] == "0/in.jsonl#2"
    assert failed["step"] == "answer"


def test_a_record_without_an_outcome(trial: Trial) -> None:
    """It is an error that names the record, never a missing row."""
    alter(trial, without_entry)
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
    alter(trial, without_call)
    with pytest.raises(RunError, match="run again"):
        again(trial)
    assert trial.run().usage.calls == 1
    assert len(trial.output()) == 4


def test_no_note_while_a_part_is_made(trial: Trial) -> None:
    """Until the new part is whole, the old note does not vouch for it."""
    alter(trial, without_entry)
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
