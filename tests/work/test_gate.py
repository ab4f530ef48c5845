"""Who may enter a run: the ranks of the launch whose owner is there."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from mirage.report import DONE, STOPPED, Progress, Usage
from mirage.scale.roll_call import RollCall
from mirage.work import gate
from mirage.work.folder import RunFolder
from mirage.work.gate import OPEN, Gate
from mirage.work.lock import Lock
from mirage.work.rank import Rank


def follower(folder: Path) -> RollCall:
    ranks = RollCall(RunFolder(folder), Rank(1, 2, "launch"), Progress())
    ranks.enter("plan sink")
    return ranks


def test_only_an_owner_who_is_there_lets_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an owner who was killed has left opens nothing, whatever the launch is called."""
    monkeypatch.setattr(gate, "process_age", lambda: 0.0)
    with Lock(tmp_path, "launch") as lock:
        Gate(tmp_path).write(lock, OPEN, "plan sink")
        assert Gate(tmp_path).entry("launch") is not None
        assert Gate(tmp_path).entry("another") is None
    time.sleep(0.05)
    assert Gate(tmp_path).entry("launch") is None


def test_an_end_counts_for_who_had_started_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank that is late learns of it; one of the next launch, of the same name, waits."""
    with Lock(tmp_path, "launch") as lock:
        Gate(tmp_path).write(lock, DONE, "plan sink")
    hour_ago = time.time() - 3600
    os.utime(tmp_path / "open", (hour_ago, hour_ago))
    monkeypatch.setattr(gate, "process_age", lambda: 7200.0)
    assert Gate(tmp_path).entry("launch") is not None
    monkeypatch.setattr(gate, "process_age", lambda: 1800.0)
    assert Gate(tmp_path).entry("launch") is None


def test_the_end_of_the_owner_is_that_of_the_others(tmp_path: Path) -> None:
    """They have done well where it has; otherwise they were stopped."""
    for state in (DONE, STOPPED):
        with Lock(tmp_path, "launch") as lock:
            Gate(tmp_path).write(lock, OPEN, "plan sink")
            ranks = follower(tmp_path)
            assert ranks.look() == ""
            Gate(tmp_path).write(lock, state, "plan sink")
            assert ranks.look() == "rank 0 has ended"
            assert ranks.verdict("rank 0 has ended")[0] == state


def test_nobody_waits_for_a_rank_that_was_killed(tmp_path: Path) -> None:
    """Nor has it anything in flight. What it had settled stays."""
    killed = Progress(phase="running", in_flight=3, window=8, usage=Usage(calls=5))
    killed.save(tmp_path, 1)
    with Lock(tmp_path, "launch") as lock:
        ranks = RollCall(RunFolder(tmp_path), Rank(0, 2, "launch"), Progress(), lock=lock)
        ranks.dismiss([1])
        began = time.monotonic()
        asyncio.run(ranks.end(DONE, ""))
        assert time.monotonic() - began < 1
    shown = ranks.shown
    assert (shown.in_flight, shown.window, shown.usage.calls) == (0, 0, 5)


def test_an_orphan_keeps_silent_where_another_launch_goes_on(tmp_path: Path) -> None:
    """Its last word would stop that one."""
    with Lock(tmp_path, "launch") as lock:
        Gate(tmp_path).write(lock, OPEN, "plan sink")
        ranks = follower(tmp_path)
        lock.path.unlink()
        with Lock(tmp_path, "launch") as successor:
            Gate(tmp_path).write(successor, OPEN, "plan sink")
        assert ranks.look() == "rank 0 has ended"
        ranks.save()
    assert not list(tmp_path.glob("progress*"))
