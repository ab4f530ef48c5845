"""Several processes on one run: one dataset, whoever lives to the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from mirage import api, session
from mirage.engines.mock import Behaviour, MockServer, running
from mirage.errors import ConfigError, LockedError, RunError
from mirage.report import Progress, progress_file
from mirage.scale import roll_call
from mirage.work.gate import OPEN
from mirage.work.lock import Lock
from mirage.work.rank import Rank

from .trial import Trial, lines, questions

IN_FLIGHT = 12


@pytest.fixture
def server() -> Iterator[MockServer]:
    with running(Behaviour(latency=0.02, jitter=0.01)) as server:
        yield server


def begin(trial: Trial, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """`mirage run`, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mirage", "run", str(trial.file()), "--json", "--quiet", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | (env or {}),
    )


def end(process: subprocess.Popen[bytes]) -> tuple[int, dict[str, object], str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, orjson.loads(out or b"{}"), err.decode()


def children(process: subprocess.Popen[bytes]) -> list[int]:
    """The ranks that a process has started."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in found.split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(condition: object, seconds: float = 30.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alone(trial: Trial) -> bytes:
    """What a single undisturbed process writes."""
    trial.forget()
    assert trial.run().exit_code == 0
    return trial.data()


def claims(trial: Trial) -> list[Path]:
    return list(trial.run_dir.glob("blocks/*/lock"))


def worked(trial: Trial, rank: int) -> bool:
    """Whether a rank has told of records that it has settled."""
    return Progress.load(progress_file(trial.run_dir, rank)).settled > 0


def test_three_workers_write_what_one_writes(tmp_path: Path, server: MockServer) -> None:
    """Byte for byte; each row is asked about once, and no worker was idle."""
    trial = Trial(tmp_path, questions(600), server.base_url)
    trial.set(run={"block_rows": 40, "workers": 3}, engine={"max_in_flight": IN_FLIGHT})
    code, summary, err = end(begin(trial))
    assert (code, err) == (0, "")
    assert summary["counts"]["read"] == summary["counts"]["written"] == 600  # type: ignore[index]
    assert summary["usage"]["calls"] == 600  # type: ignore[index]
    assert server.stats.calls == 600
    assert server.stats.max_in_flight <= IN_FLIGHT
    assert not claims(trial)
    for rank in (1, 2):
        saved = orjson.loads((trial.run_dir / f"progress-{rank}.json").read_bytes())
        assert saved["phase"] == "done"
        assert saved["usage"]["calls"] > 0
    data = trial.data()
    assert data == alone(trial)


def test_ranks_of_a_launcher(tmp_path: Path, server: MockServer) -> None:
    """Two processes with the variables of torchrun share a run, whichever begins first."""
    trial = Trial(tmp_path, questions(200), server.base_url, run={"block_rows": 20})
    said = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    second = begin(trial, env={**said, "RANK": "1"})
    time.sleep(1.0)
    first = begin(trial, env={**said, "RANK": "0"})
    assert [end(process)[0] for process in (first, second)] == [0, 0]
    assert server.stats.calls == 200
    data = trial.data()
    trial.append(questions(20, start=200))
    second = begin(trial, env={**said, "RANK": "1"})
    time.sleep(1.0)
    first = begin(trial, env={**said, "RANK": "0"})
    assert [end(process)[::2] for process in (first, second)] == [(0, ""), (0, "")]
    assert trial.data().startswith(data)
    assert trial.data() == alone(trial)


def test_workers_that_are_killed(tmp_path: Path, server: MockServer) -> None:
    """The others do the work of those that die; no more is repeated than was in flight."""
    trial = Trial(tmp_path, questions(1_500), server.base_url)
    trial.set(run={"block_rows": 50, "workers": 3}, engine={"max_in_flight": IN_FLIGHT})
    rng = random.Random(3)
    process = begin(trial)
    until(lambda: all(worked(trial, rank) for rank in (1, 2)))
    for pid in children(process):
        time.sleep(rng.uniform(0, 0.4))
        os.kill(pid, signal.SIGKILL)
    code, summary, _ = end(process)
    assert code == 0
    assert [str(warning)[:6] for warning in summary["warnings"]] == ["rank 1", "rank 2"]  # type: ignore[attr-defined]
    assert len(server.stats.prompts) == 1_500
    assert server.stats.calls - 1_500 <= IN_FLIGHT
    progress = orjson.loads((trial.run_dir / "progress.json").read_bytes())
    assert progress["counts"]["read"] <= 1_500
    data = trial.data()
    assert data == alone(trial)


def test_the_owner_is_killed(tmp_path: Path, server: MockServer) -> None:
    """Its workers end by themselves; the next run, of one process, goes on."""
    trial = Trial(tmp_path, questions(1_500), server.base_url)
    trial.set(run={"block_rows": 50, "workers": 3}, engine={"max_in_flight": IN_FLIGHT})
    process = begin(trial)
    until(lambda: server.stats.calls > 100)
    orphans = children(process)
    assert len(orphans) == 2
    process.kill()
    process.communicate()
    until(lambda: all(gone(pid) for pid in orphans))
    assert not trial.target.exists()
    server.behaviour = Behaviour()
    summary = trial.run()
    assert summary.counts.written == 1_500
    assert server.stats.calls - 1_500 <= IN_FLIGHT
    data = trial.data()
    assert data == alone(trial)


def test_an_interrupt_ends_them_all(tmp_path: Path, server: MockServer) -> None:
    """SIGTERM to the first: all finish the calls under way; nothing is paid twice."""
    trial = Trial(tmp_path, questions(1_000), server.base_url)
    trial.set(run={"block_rows": 50, "workers": 2}, engine={"max_in_flight": IN_FLIGHT})
    process = begin(trial)
    until(lambda: server.stats.calls > 50)
    (child,) = children(process)
    process.terminate()
    code, summary, _ = end(process)
    assert (code, summary["state"]) == (130, "interrupted")
    assert gone(child)
    server.behaviour = Behaviour()
    assert trial.run().counts.written == server.stats.calls == 1_000


def test_failures_of_all_workers_count_together(tmp_path: Path, server: MockServer) -> None:
    """`max_failures` is for the run, not for each process."""
    server.behaviour = Behaviour(latency=0.02, share_500=1.0)
    trial = Trial(tmp_path, questions(2_000), server.base_url)
    trial.set(
        run={"block_rows": 50, "workers": 2, "max_failures": 60},
        engine={"max_in_flight": IN_FLIGHT, "retries": 0},
    )
    code, summary, err = end(begin(trial))
    assert (code, summary.get("state")) == (4, "stopped"), (err, summary)
    assert "`max_failures` is 60" in str(summary["reason"])


def test_a_rank_without_an_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits, and not for ever; a launch of another name does not let it in."""
    monkeypatch.setattr(roll_call, "OWNER_SECONDS", 0.2)
    trial = Trial(tmp_path, questions(3))
    job = trial.job()
    with Lock(job.folder.root, "another launch") as lock:
        job.folder.gate.write(lock, OPEN, job.work.makes)
        with pytest.raises(RunError, match="rank 0 has not begun"):
            session.execute(job, rank=Rank(1, 2, "this launch"))


def test_a_block_that_another_process_has(tmp_path: Path) -> None:
    """It is waited for while that process lives, and taken over when it is dead."""
    trial = Trial(tmp_path, questions(30), run={"block_rows": 10})
    block = trial.run_dir / "blocks" / "000001"
    code = "import sys, time; from pathlib import Path; from mirage.work.lock import Lock\n"
    code += "with Lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(block)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    process = begin(trial)
    until(lambda: len(list(trial.run_dir.glob("blocks/*/part.json"))) == 2)
    time.sleep(0.5)
    assert process.poll() is None
    assert not trial.target.exists()
    holder.kill()
    holder.wait()
    assert end(process)[0] == 0
    assert len(trial.output()) == 30


def test_a_block_that_was_taken_over_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who slept through the lease writes no part: that is its successor's."""
    trial = Trial(tmp_path, questions(5))
    monkeypatch.setattr(Lock, "held", property(lambda lock: lock.path.parent == trial.run_dir))
    with pytest.raises(LockedError, match="taken over"):
        trial.run()
    assert not list(trial.run_dir.glob("blocks/*/part*"))


def test_only_files_are_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in memory, and configurations without a file, are for one process."""
    trial = Trial(tmp_path, questions(3))
    for rows in (None, questions(3)):
        with pytest.raises(ConfigError, match="its rows are not in memory"):
            api.run(trial.config, rows, workers=2)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="its rows are not in memory"):
        api.run(trial.config, questions(3))


def test_overrides_that_the_others_would_not_see(tmp_path: Path) -> None:
    """A loaded configuration that says more than its file is for one process."""
    trial = Trial(tmp_path, questions(3), run={"workers": 2})
    config = api.load_config(trial.file(), overrides={"source": {"limit": 1}})
    with pytest.raises(ConfigError, match="the other processes read the file alone"):
        api.run(config)


def test_another_configuration(tmp_path: Path) -> None:
    """A rank that would make something else than rank 0 makes nothing."""
    trial = Trial(tmp_path, questions(3))
    job = trial.job()
    with Lock(job.folder.root, "launch") as lock:
        job.folder.gate.write(lock, OPEN, job.work.makes)
        trial.set(outputs=[{"name": "answer", "type": "llm", "prompt": "Another: {q}"}])
        with pytest.raises(RunError, match="rank 1 has another configuration"):
            session.execute(trial.job(), rank=Rank(1, 2, "launch"))


def test_workers_where_the_run_cannot_begin(tmp_path: Path) -> None:
    """They are sent away at once, and one process says why."""
    trial = Trial(tmp_path, questions(3), run={"workers": 3})
    with Lock(trial.run_dir):
        began = time.monotonic()
        code, _, err = end(begin(trial))
    assert (code, err) == (5, "")
    assert time.monotonic() - began < 8


def test_workers_whose_owner_is_killed_before_it_begins(tmp_path: Path) -> None:
    """They see that it is gone, and do not wait for it."""
    trial = Trial(tmp_path, questions(3), run={"workers": 2})
    with Lock(trial.run_dir):
        process = begin(trial)
        until(lambda: children(process))
        process.kill()
        code, _, _ = end(process)  # the worker holds the other end of these pipes
    assert code == -signal.SIGKILL


def test_the_source_is_not_cut_anew_under_a_living_rank(tmp_path: Path) -> None:
    """One of an earlier launch, whose rank 0 was killed, may still finish its calls."""
    trial = Trial(tmp_path, questions(3))
    trial.run()
    half = trial.run_dir / "blocks" / "000000" / ".mirage-half.tmp"
    half.touch()
    with Lock(half.parent):
        with pytest.raises(LockedError, match="still in use"):
            trial.run(accept_changes=True)
        assert half.exists()
    assert trial.run(accept_changes=True).counts.written == 3


def test_a_retry_is_for_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher's further ranks are told so."""
    trial = Trial(tmp_path, questions(3))
    trial.run()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"):
        api.retry(trial.run_dir)


def test_rows_appended_for_several_workers(tmp_path: Path, server: MockServer) -> None:
    """What stands is skipped by all of them, and counted once."""
    trial = Trial(tmp_path, questions(100), server.base_url, run={"block_rows": 10})
    trial.run()
    trial.append(questions(40, start=100))
    trial.set(run={"workers": 2})
    code, summary, _ = end(begin(trial))
    assert code == 0
    assert summary["counts"]["read"] == 140  # type: ignore[index]
    assert server.stats.calls == 140
    assert trial.source.read_bytes() == lines(questions(140))
    progress = orjson.loads((trial.run_dir / "progress.json").read_bytes())
    assert (progress["counts"]["read"], progress["resumed"]) == (140, 100)


def test_a_new_prompt_for_several_workers(tmp_path: Path, server: MockServer) -> None:
    """What one makes anew is counted once, though an old part was there."""
    trial = Trial(tmp_path, questions(100), server.base_url, run={"block_rows": 5})
    trial.run()
    trial.set(run={"workers": 2, "max_failures": 60}, engine={"retries": 0})
    trial.set(outputs=[{"name": "answer", "type": "llm", "prompt": "Another: {q}"}])
    server.behaviour = Behaviour(latency=0.3, share_500=0.5)
    code, summary, err = end(begin(trial))
    assert code == 3, (summary, err)
    assert worked(trial, 1)
    progress = orjson.loads((trial.run_dir / "progress.json").read_bytes())
    assert (progress["counts"]["read"], progress["resumed"]) == (100, 0)
