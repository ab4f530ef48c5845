"""A run whose process is too slow for its endpoint, and is helped by another one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from mirage.config import load_config
from mirage.engines.mock import Behaviour, running
from mirage.job import prepare
from mirage.report import Progress
from mirage.scale.recruit import cores
from mirage.session import execute
from mirage.work.rank import Rank

from .trial import Trial, questions

TWO = """
import sys
from mirage import run
from mirage.scale import recruit

recruit.BUSY = recruit.LEFT_SECONDS = 0
summary = run(sys.argv[1])
print(summary.processes, summary.counts.written, *summary.warnings)
"""


def made(folder: Path, url: str) -> Path:
    trial = Trial(folder, questions(1_500), url, run={"dir": str(folder / "run"), "block_rows": 50})
    return trial.file()


def follower(parent: int) -> int:
    """The process id of a child that works, once there is one."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        if listed:
            return int(listed[0])
        time.sleep(0.02)
    raise AssertionError("nobody has been started")


def test_a_process_that_starts_in_an_outage_waits_for_its_end(tmp_path: Path) -> None:
    """To rank 0 the endpoint has answered: that of another's first call is no reason to stop."""
    loaded = load_config(made(tmp_path, "http://127.0.0.1:9/v1"))
    for rank, heard in ((Rank(1, 2, "launch", parent=7), True), (Rank(1, 2, "launch"), False)):
        (engine,) = prepare(loaded, rank=rank).engines.values()
        assert engine.endpoints.heard == heard  # type: ignore[attr-defined]


def test_what_may_be_shared_is_soon_seen_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look at a run comes soon after the first, which comes before its first call."""
    monkeypatch.setattr("mirage.session.SOON_SECONDS", 1.0)
    monkeypatch.setattr("mirage.session.SAVE_SECONDS", 60.0)
    phases, shown = [], Progress()

    def seen() -> str:
        phases.append(shown.phase)
        return ""

    with running(Behaviour(latency=1.5)) as server:
        job = Trial(tmp_path, questions(3), server.base_url).job()
        execute(job, progress=shown, rank=Rank(recruits=True), watch=seen)
    assert phases == ["starting", "running"]


@pytest.mark.skipif(cores() < 2, reason="a second process needs a second core")
@pytest.mark.parametrize("killed", [False, True])
def test_two_processes_make_the_dataset_of_one(tmp_path: Path, killed: bool) -> None:
    """No row is lost or asked for twice without need, and no more calls are in flight than may be;
    also where the second process is killed.
    """
    with running(Behaviour(latency=0.05)) as server:
        command = [sys.executable, "-c", TWO, str(made(tmp_path, server.base_url))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        second = follower(process.pid)
        if killed:
            while not list((tmp_path / "run").glob("progress-1.json")):
                time.sleep(0.02)
            os.kill(second, signal.SIGKILL)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert told.startswith("2 1500")
    assert ("rank 1 was killed by signal 9" in told) == killed
    last = orjson.loads((tmp_path / "run" / "progress-1.json").read_bytes())["phase"]
    assert last == ("interrupted" if killed else "done")
    rows = [orjson.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [row["q"] for row in rows] == [row["q"] for row in questions(1_500)]
    assert server.stats.max_in_flight <= 16
    assert 1_500 <= server.stats.calls <= 1_500 + 8 * killed
