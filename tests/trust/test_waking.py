"""Processes that slept through their lease: when they wake up they corrupt nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from mirage import session
from mirage.engines.mock import Behaviour, MockServer, running
from mirage.errors import LockedError, RunError
from mirage.journal import carried
from mirage.merge import merge
from mirage.report import DONE, INTERRUPTED, ORPHANED, STOPPED
from mirage.scale import join
from mirage.scale.roll_call import RollCall
from mirage.work.block_list import BlockList
from mirage.work.gate import OPEN, Gate
from mirage.work.lock import Lock
from mirage.work.rank import Rank

from .engine import Scripted
from .test_sharing import alone, until
from .trial import Trial, questions

LEASE = 4.0
ELSEWHERE = """
import os, sys
from mirage.work import lock
lock.LEASE_SECONDS, lock.HEARTBEAT_SECONDS = float(sys.argv.pop(1)), 0.1
lock.space = lambda: str(os.getpid())  # as if on a host of its own
from mirage.cli import main
sys.exit(main())
"""


@pytest.fixture
def server() -> Iterator[MockServer]:
    with running(Behaviour(latency=0.1)) as server:
        yield server


def begin(trial: Trial) -> subprocess.Popen[bytes]:
    """`mirage run --join 2`, on a host of its own, with a short lease."""
    words = ["run", str(trial.file()), "--join", "2", "--json", "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE, str(LEASE), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def shared(tmp_path: Path, server: MockServer, rows: int) -> Trial:
    trial = Trial(tmp_path, questions(rows), server.base_url)
    trial.set(run={"block_rows": 25}, engine={"max_in_flight": 8})
    return trial


def claimed(trial: Trial, pid: int) -> list[Path]:
    """The locks that a process holds; nobody asks for that of a block that has its part."""
    found = []
    for path in [trial.run_dir / "lock", *trial.run_dir.glob("blocks/*/lock")]:
        if path.with_name("part.json").exists():
            continue
        try:
            holder = orjson.loads(path.read_bytes())["pid"]
        except (FileNotFoundError, orjson.JSONDecodeError):
            continue
        if holder == pid:
            found.append(path)
    return found


@pytest.mark.parametrize("who", ["owner", "other"])
def test_one_that_wakes_up(tmp_path: Path, server: MockServer, who: str) -> None:
    """It has lost the run, or its block, and goes on as one of the others; every row is once."""
    trial = shared(tmp_path, server, 1_500)
    processes = {process.pid: process for process in (begin(trial) for _ in range(2))}
    until(lambda: all(claimed(trial, pid) for pid in processes) and server.stats.calls > 100)
    lock = trial.run_dir / "lock"
    owner = orjson.loads(lock.read_bytes())["pid"]
    (other,) = set(processes) - {owner}
    sleeper = owner if who == "owner" else other
    os.kill(sleeper, signal.SIGSTOP)
    server.behaviour = Behaviour(latency=0.02)
    until(lambda: not claimed(trial, sleeper))
    os.kill(sleeper, signal.SIGCONT)
    ended = {pid: process.communicate(timeout=60) for pid, process in processes.items()}
    codes = {process.returncode for process in processes.values()}
    assert codes == {0}, ended
    assert server.stats.calls - 1_500 <= 2 * 8 + 25  # its own block, until it has seen that
    data = trial.data()
    assert data == alone(trial)


def test_those_who_join_one_that_has_died(tmp_path: Path, server: MockServer) -> None:
    """Until its lease ends they cannot know; they do its work, stay, and one of them publishes."""
    trial = shared(tmp_path, server, 200)
    trial.target.write_bytes(b"a dataset of before")
    first = begin(trial)
    until(lambda: server.stats.calls > 20)
    first.kill()
    first.communicate()
    server.behaviour = Behaviour()
    processes = [begin(trial) for _ in range(2)]
    ended = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    data = trial.data()
    assert data == alone(trial)


@pytest.mark.parametrize(
    ("sign", "state"),
    [(DONE, DONE), (STOPPED, STOPPED), (INTERRUPTED, ORPHANED), ("", INTERRUPTED)],
)
def test_who_has_nothing_left_to_do_stays(tmp_path: Path, sign: str, state: str) -> None:
    """Until the owner says how the run has ended, or Ctrl-C comes."""
    trial = Trial(tmp_path, questions(3))
    trial.run()
    job = trial.job()
    gate, makes = job.folder.gate, job.work.makes
    with Lock(trial.run_dir, "join") as lock:
        gate.write(lock, OPEN, makes)

        def ends() -> None:
            if sign:
                gate.write(lock, sign, makes)
            else:
                os.kill(os.getpid(), signal.SIGINT)

        later = threading.Timer(0.5, ends)
        later.start()
        summary = session.execute(job, rank=Rank(5, 2, "join", elected=True))
        assert (summary.state, later.finished.is_set()) == (state, True)


def lose(lock: Lock, launch: str = "another") -> Lock:
    """As if the lease of a lock had ended: somebody else has it now."""
    lock.path.unlink()
    successor = Lock(lock.path.parent, launch)
    successor.acquire()
    return successor


def test_a_gate_that_is_another_owner_s(tmp_path: Path) -> None:
    """Who has lost the run shuts no gate of its successor's."""
    with Lock(tmp_path, "a launch") as lock:
        successor = lose(lock)
        Gate(tmp_path).write(successor, OPEN, "makes")
        with pytest.raises(LockedError, match="taken over"):
            Gate(tmp_path).write(lock, "stopped", "makes")
        sign = Gate(tmp_path).read()
        successor.release()
    assert sign is not None
    assert (sign.launch, sign.state) == ("another", OPEN)


def test_a_heart_beats_for_no_other(tmp_path: Path) -> None:
    """The lock of a successor that has died is not kept alive by the one before it."""
    with Lock(tmp_path) as lock:
        file = os.open(lock.path, os.O_WRONLY)
        successor = lose(lock)
        os.utime(successor.path, (1, 1))
        os.utime(file)
        assert successor.path.stat().st_mtime == 1
        os.close(file)
        successor.release()


def test_two_owners_store_the_same_blocks(tmp_path: Path) -> None:
    """Both have found them in the same source; each counts once, whoever is ahead."""
    trial = Trial(tmp_path, questions(40), run={"block_rows": 10})
    trial.run()
    path = trial.run_dir / "blocks.jsonl"
    found = BlockList(path).more()
    first, second = (BlockList(tmp_path / "blocks.jsonl") for _ in "ab")
    for one, other in ((0, None), (1, 0), (2, 1), (None, 2), (3, 3)):
        for blocks, number in ((first, one), (second, other)):
            if number is not None:
                blocks.append(found[number])
    assert BlockList(tmp_path / "blocks.jsonl").more() == found


def test_one_that_slept_while_it_accepted_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its successor has accepted them; it waits for nothing, and its own blocks stay."""
    trial = Trial(tmp_path, questions(5))
    trial.run()
    trial.write(reversed(questions(5)))
    add = carried.add

    def asleep(*call: Any) -> None:
        add(*call)
        monkeypatch.setattr(carried, "add", add)
        lose(Lock(trial.run_dir)).release()
        assert trial.run(accept_changes=True).usage.calls == 0

    monkeypatch.setattr(carried, "add", asleep)
    with pytest.raises(LockedError, match="taken"):
        trial.run(accept_changes=True)
    trial.target.unlink()
    assert trial.run().counts.written == 5
    assert [row["q"] for row in trial.output()] == [row["q"] for row in reversed(questions(5))]
    assert len([*trial.run_dir.glob("blocks.before-*")]) == 1


def test_a_run_s_folder_that_is_deleted(tmp_path: Path, server: MockServer) -> None:
    """The run stops, and says so; no dataset is made of what is left."""
    trial = shared(tmp_path, server, 2_000)
    process = begin(trial)
    until(lambda: server.stats.calls > 50)
    server.behaviour = Behaviour()
    (trial.run_dir / "lock").unlink()
    (trial.run_dir / "blocks.jsonl").write_bytes(b"")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)  # it has joined again, and found its blocks anew
    data = trial.data()
    assert data == alone(trial)


def test_a_plain_run_that_has_lost_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing takes the place of the dataset."""
    trial = Trial(tmp_path, questions(5))
    monkeypatch.setattr(Lock, "held", property(lambda lock: lock.path.parent != trial.run_dir))
    assert trial.run().state == "stopped"
    (trial.run_dir / "lock").unlink()
    monkeypatch.setattr(RollCall, "look", lambda ranks: "")  # it wakes up to publish
    with pytest.raises(LockedError, match="taken over"):
        trial.run()
    assert not trial.target.exists()


def test_a_block_that_is_taken_over_while_calls_are_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is looked at until they are finished: that is no reason to stop the run."""
    engine = Scripted()
    engine.slow = {"Answer this: question 0": 0.3}
    trial = Trial(tmp_path, questions(100), engine)
    monkeypatch.setattr(session, "SAVE_SECONDS", 0.02)
    monkeypatch.setattr(Lock, "held", property(lambda lock: lock.path.parent == trial.run_dir))
    with pytest.raises(LockedError, match="taken over"):
        trial.run()


def test_a_run_that_another_does_not_share(tmp_path: Path) -> None:
    """Who would join is told at once, and by whom it is held."""
    trial = Trial(tmp_path, questions(5))
    for launch, message in (("", "does not share it"), ("torchrun", "shared by others")):
        with Lock(trial.run_dir, launch), pytest.raises(RunError, match=message):
            join.join(2, trial.run_dir, lambda rank, **given: trial.run(rank=rank, **given))


def test_a_merge_of_blocks_whose_list_is_cut_short(tmp_path: Path) -> None:
    """What the list says is held against the source, not taken on trust."""
    trial = Trial(tmp_path, questions(40), run={"block_rows": 10})
    trial.run()
    path = trial.run_dir / "blocks.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    with pytest.raises(RunError, match=r"not read beyond in.jsonl row 30"):
        merge(trial.job())


def test_joining_a_run_that_is_done(tmp_path: Path) -> None:
    """Nothing is owed, and nothing written anew."""
    trial = Trial(tmp_path, questions(5))
    trial.run()
    before = trial.target.stat()
    assert (
        join.join(
            2, trial.run_dir, lambda rank, **given: trial.run(rank=rank, **given)
        ).counts.written
        == 5
    )
    assert trial.target.stat() == before
