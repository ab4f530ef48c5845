"""Processes killed at random, again and again: every row once, and nothing paid for twice but what
was in flight.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from trust.test_joining import owner
from trust.test_sharing import alone, begin, end, until
from trust.trial import Trial, questions

from mirage.engines.mock import Behaviour, MockServer, running
from mirage.merge import merge

pytestmark = pytest.mark.scale

ROWS = 20_000
KILLS = 10
PROCESSES = 3
IN_FLIGHT = 48


@pytest.fixture
def server() -> Iterator[MockServer]:
    with running(Behaviour(latency=0.02, jitter=0.01)) as server:
        yield server


@pytest.mark.timeout(600)
def test_ten_that_are_killed(tmp_path: Path, server: MockServer) -> None:
    """Of three that have joined, one is killed ten times over, the owner first, and succeeded."""
    trial = Trial(tmp_path, questions(ROWS), server.base_url)
    trial.set(run={"block_rows": 250}, engine={"max_in_flight": IN_FLIGHT})
    rng = random.Random(5)
    count = str(PROCESSES)
    processes = {p.pid: p for p in (begin(trial, "--join", count) for _ in range(PROCESSES))}
    until(lambda: (trial.run_dir / "lock").exists() and server.stats.calls > 100)
    for kill in range(KILLS):
        until(lambda kill=kill: server.stats.calls > ROWS * (kill + 0.3) / (KILLS + 1), 120)
        pid = owner(trial) if not kill else rng.choice(sorted(processes))
        os.kill(pid, signal.SIGKILL)
        processes.pop(pid).communicate()
        assert not trial.target.exists()
        successor: subprocess.Popen[bytes] = begin(trial, "--join", count)
        processes[successor.pid] = successor
    assert [end(process)[0] for process in processes.values()] == [0] * PROCESSES
    assert len(server.stats.prompts) == ROWS
    assert server.stats.calls - ROWS <= KILLS * IN_FLIGHT // PROCESSES
    data = trial.data()
    trial.target.unlink()
    assert merge(trial.job()).counts.written == ROWS
    assert trial.data() == data
    rows = [orjson.loads(line)["q"] for line in data.splitlines()]
    assert rows == [row["q"] for row in questions(ROWS)]
    server.behaviour = Behaviour()
    assert data == alone(trial)
