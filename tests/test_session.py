"""From a job to a summary: exit codes, the manifest, progress, and running inside a loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from trust.engine import Scripted
from trust.trial import Trial, questions

from mirage.errors import LockedError
from mirage.report import Progress
from mirage.work.lock import Lock


def test_a_summary_says_what_it_came_to(tmp_path: Path) -> None:
    """Counts of the whole dataset, the cost of this process and of the run so far."""
    trial = Trial(tmp_path, questions(20), Scripted({"Answer this: question 3": None}))
    summary = trial.run()
    assert (summary.state, summary.exit_code) == ("done", 3)
    assert (summary.usage.calls, summary.total.calls) == (19, 19)
    again = trial.run()
    assert (again.usage.calls, again.total.calls) == (0, 19)
    assert again.counts == summary.counts
    assert orjson.loads(orjson.dumps(summary.to_json()))["exit_code"] == 3
    assert len(list(summary.rows())) == 19


def test_the_manifest(tmp_path: Path) -> None:
    """Beside the dataset and in the run's folder: what was made, out of what, by which versions."""
    trial = Trial(tmp_path, questions(3), Scripted())
    trial.run()
    for path in (tmp_path / "out.jsonl.manifest.json", trial.run_dir / "manifest.json"):
        manifest = orjson.loads(path.read_bytes())
        assert manifest["rows"] == 3
        assert manifest["counts"]["written"] == 3
        assert manifest["config"]["outputs"] == trial.config["outputs"]
        assert manifest["versions"]["mirage"]


def test_progress_can_be_watched(tmp_path: Path) -> None:
    """What is given is counted up, and what is saved says the same in the end."""
    progress = Progress()
    trial = Trial(tmp_path, questions(30), Scripted(), run={"block_rows": 10})
    trial.run(progress=progress)
    assert (progress.counts.written, progress.total, progress.blocks_done) == (30, 30, 3)
    saved = orjson.loads((trial.run_dir / "progress.json").read_bytes())
    assert saved["counts"]["written"] == 30
    assert saved["phase"] == "done"


def test_progress_that_has_shown_another_run(tmp_path: Path) -> None:
    """It begins anew: failures of before are not counted twice, nor hold against the run."""
    progress = Progress()
    rows = [{"q": None}, *questions(9)]
    trial = Trial(tmp_path, rows, Scripted(), run={"max_failures": 1, "block_rows": 5})
    first = trial.run(progress=progress)
    paid = first.usage.calls
    (trial.run_dir / "blocks" / "000000" / "part.json").unlink()  # its records are gone through
    again = trial.run(progress=progress)
    assert [each.exit_code for each in (first, again)] == [3, 3]
    assert (progress.counts.read, progress.counts.failed, progress.resumed) == (10, 1, 10)
    assert (paid, progress.usage.calls, progress.trouble) == (9, 0, "")


def test_inside_a_running_loop(tmp_path: Path) -> None:
    """In a notebook, where a loop runs already, a run works as anywhere."""
    trial = Trial(tmp_path, questions(3), Scripted())

    async def cell() -> int:
        return trial.run().exit_code

    assert asyncio.run(cell()) == 0


def test_the_lock_is_given_back(tmp_path: Path) -> None:
    """After a run, and after one that could not be, the folder is free."""
    trial = Trial(tmp_path, questions(3), Scripted())
    with Lock(trial.run_dir), pytest.raises(LockedError):
        trial.run()
    trial.run()
    trial.write(questions(2))
    with pytest.raises(Exception, match="rows 1 to 3"):
        trial.run()
    assert not (trial.run_dir / "lock").exists()
