"""Endpoints that die, are throttled, or all go away, as processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirage.engines import endpoints as module
from mirage.engines.openai import OpenAIEngine
from mirage.job import Job
from mirage.session import Summary, execute

from .trial import Trial, questions, started

MIRAGE = [sys.executable, "-c", "from mirage.cli import main; main()"]
Server = tuple[subprocess.Popen[str], str]


@contextmanager
def serving(*words: str, port: int = 0) -> Iterator[Server]:
    """`mirage mock-server` as a process, and its address."""
    process = subprocess.Popen(
        [*MIRAGE, "mock-server", "--port", str(port), "--json", *words],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["base_url"]
    finally:
        process.kill()
        process.wait()


def watched(job: Job, look: Callable[[OpenAIEngine], None]) -> Summary:
    """Execute a job while another thread looks at its engine every few milliseconds."""
    engine = job.engines["default"]
    assert isinstance(engine, OpenAIEngine)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            look(engine)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        return execute(job)
    finally:
        over.set()
        thread.join()


def test_one_of_four_is_killed_and_one_throttled(tmp_path: Path) -> None:
    """No row is lost or made twice; the throttled one's window shrinks and comes back, and the dead
    one's share goes to the others.
    """
    widths: list[list[int]] = []
    with (
        serving("--latency", "0.05") as (doomed, first),
        serving("--latency", "0.05", "--limit", "2", "--limit-for", "1.5") as (_, second),
        serving("--latency", "0.05") as (_, third),
        serving("--latency", "0.05") as (_, fourth),
    ):
        trial = Trial(tmp_path, questions(1200), "http://replaced/v1")
        trial.set(engine={"base_url": [first, second, third, fourth], "max_in_flight": 24})
        began = time.monotonic()

        def look(engine: OpenAIEngine) -> None:
            widths.append([each.window.size * each.up for each in engine.endpoints.every])
            if time.monotonic() - began > 0.8 and doomed.poll() is None:
                doomed.send_signal(signal.SIGKILL)
                doomed.wait()

        summary = watched(trial.job(), look)
    assert summary.exit_code == 0
    assert [row["q"] for row in trial.output()] == [row["q"] for row in questions(1200)]
    assert summary.counts.written == 1200
    assert doomed.returncode == -signal.SIGKILL
    throttled = [width[1] for width in widths]
    assert throttled[0] == 6 and min(throttled) <= 2 and throttled[-1] == 8
    assert [widths[-1][n] for n in (0, 2, 3)] == [0, 8, 8]


def test_a_single_server_is_killed_and_comes_back(tmp_path: Path) -> None:
    """Calls wait while nothing answers, and the run goes on by itself: no record fails."""
    with serving("--latency", "0.02") as (doomed, address):
        trial = Trial(tmp_path, questions(400), address)
        process = started(trial)
        wait_for_some(trial)
        doomed.send_signal(signal.SIGKILL)
        doomed.wait()
        time.sleep(2)
        assert process.poll() is None
        shown = json.loads((trial.run_dir / "progress.json").read_bytes())
        assert shown["phase"].startswith("waiting: no endpoint answers (")
        with serving("--latency", "0.001", port=int(address.split(":")[2].split("/")[0])):
            assert process.wait(60) == 0
    assert len(trial.output()) == 400 and trial.failures() == []


def test_a_single_server_is_killed_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run stops after the outage it may bear, with nothing failed, and goes on later."""
    monkeypatch.setattr(module, "FIRST_REST", 0.1)
    with serving("--latency", "0.02") as (doomed, address):
        trial = Trial(tmp_path, questions(400), address)
        trial.set(engine={"args": {"outage": 1.0}})
        began = time.monotonic()

        def look(engine: OpenAIEngine) -> None:
            if time.monotonic() - began > 0.4 and doomed.poll() is None and engine.endpoints.heard:
                doomed.send_signal(signal.SIGKILL)
                doomed.wait()

        summary = watched(trial.job(), look)
    assert summary.exit_code == 4
    assert "no endpoint has answered for 1 s" in summary.reason
    assert summary.counts.failed == 0 and 0 < summary.counts.written < 400
    with serving() as (_, again):
        trial.set(engine={"base_url": again})
        summary = trial.run()
    assert (summary.exit_code, len(trial.output())) == (0, 400)
    assert summary.usage.calls <= 400 - 1


def test_ctrl_c_in_an_outage(tmp_path: Path) -> None:
    """One SIGINT ends a run whose endpoint is gone; nothing has failed."""
    with serving("--latency", "0.02") as (doomed, address):
        trial = Trial(tmp_path, questions(400), address)
        process = started(trial)
        wait_for_some(trial)
        doomed.send_signal(signal.SIGKILL)
        doomed.wait()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert trial.failures() == []


def wait_for_some(trial: Trial, seconds: float = 20) -> None:
    """Until the run has begun to journal."""
    deadline = time.monotonic() + seconds
    while not any(trial.run_dir.glob("blocks/*/attempt-*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)
