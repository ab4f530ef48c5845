"""Processes that join a run by themselves, and the dataset that is made of what they left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from mirage import __version__, api, atomic, note
from mirage.engines.mock import Behaviour, MockServer, running
from mirage.errors import LockedError, RunError, SourceChangedError
from mirage.merge import merge
from mirage.work.lock import Lock

from .test_disk import full_after
from .test_sharing import alone, begin, claims, end, until
from .trial import Trial, questions

IN_FLIGHT = 12


@pytest.fixture
def server() -> Iterator[MockServer]:
    with running(Behaviour(latency=0.02, jitter=0.01)) as server:
        yield server


def owner(trial: Trial) -> int:
    """The process that owns the run."""
    return int(orjson.loads((trial.run_dir / "lock").read_bytes())["pid"])


def shared(tmp_path: Path, server: MockServer, rows: int = 1_000) -> Trial:
    trial = Trial(tmp_path, questions(rows), server.base_url)
    trial.set(run={"block_rows": 40}, engine={"max_in_flight": IN_FLIGHT})
    return trial


def test_those_who_join_write_what_one_writes(tmp_path: Path, server: MockServer) -> None:
    """Whoever comes first owns the run; each row is asked about once."""
    trial = shared(tmp_path, server)
    server.behaviour = Behaviour(latency=0.5)
    processes = [begin(trial, "--join", "3") for _ in range(3)]
    until(lambda: len([*trial.run_dir.glob("progress-*.json")]) == 2)
    server.behaviour = Behaviour(latency=0.02)
    ended = [end(process) for process in processes]
    assert [code for code, _, _ in ended] == [0] * 3, ended
    assert server.stats.calls == 1_000
    assert server.stats.max_in_flight <= IN_FLIGHT
    assert not claims(trial)
    (summary,) = [summary for _, summary, _ in ended if summary]  # the owner's
    told = subprocess.check_output([sys.executable, "-m", "mirage", "status", trial.run_dir])
    assert (summary["processes"], b"processes 3" in told) == (3, True)
    data = trial.data()
    assert data == alone(trial)


def test_who_is_late_leaves_the_note_of_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two begin at once: who owns the run sweeps away what the other is about to note."""
    job = api.check(Trial(tmp_path, questions(3)).file())
    settle = atomic.settle

    def late(file: Path, target: Path) -> None:
        job.folder.sweep()
        settle(file, target)

    monkeypatch.setattr(atomic, "settle", late)
    note.remember(job)
    assert not (job.folder.root / note.NOTE).exists()


def test_an_owner_that_is_killed_is_succeeded(tmp_path: Path, server: MockServer) -> None:
    """The others finish their calls, one of them owns the run, and it ends as if undisturbed."""
    trial = shared(tmp_path, server, 2_000)
    processes = {process.pid: process for process in (begin(trial, "--join", "3") for _ in "abc")}
    for calls in (200, 700):
        until(lambda calls=calls: server.stats.calls > calls and (trial.run_dir / "lock").exists())
        until(lambda: owner(trial) in processes)
        first = processes.pop(owner(trial))
        first.kill()
        first.communicate()
    (last,) = processes.values()
    code, summary, err = end(last)
    assert code == 0, err
    assert summary["counts"]["written"] == 2_000  # type: ignore[index]
    assert server.stats.calls - 2_000 <= 2 * IN_FLIGHT
    data = trial.data()
    assert data == alone(trial)


def test_an_owner_that_is_out_of_time_is_succeeded(tmp_path: Path, server: MockServer) -> None:
    """SIGUSR1: it finishes its calls and leaves; the other goes on, and nothing is paid twice."""
    trial = shared(tmp_path, server)
    processes = {process.pid: process for process in (begin(trial, "--join", "2") for _ in "ab")}
    until(lambda: server.stats.calls > 100)
    first = processes.pop(owner(trial))
    os.kill(first.pid, signal.SIGUSR1)
    assert end(first)[0] == 130
    (second,) = processes.values()
    assert end(second)[0] == 0
    assert server.stats.calls == 1_000
    data = trial.data()
    assert data == alone(trial)


def test_a_full_disk_under_two(tmp_path: Path, server: MockServer) -> None:
    """Who meets it says so, and ends the other; once there is room, two go on, and only calls in
    flight are paid for again.
    """
    trial = shared(tmp_path, server, 600)
    with full_after(30_000):
        processes = [begin(trial, "--join", "2") for _ in range(2)]
    told = [refused(process) for process in processes]
    assert any(f"{trial.run_dir}" in each for each in told)
    assert all(f"{trial.run_dir}" in each or "rank 0 has ended" in each for each in told)
    assert not trial.target.exists()
    processes = [begin(trial, "--join", "2") for _ in range(2)]
    assert [end(process)[0] for process in processes] == [0, 0]
    assert len(server.stats.prompts) == 600
    assert server.stats.calls - 600 <= 2 * IN_FLIGHT
    data = trial.data()
    assert data == alone(trial)


def test_too_many_failures_end_them_all(tmp_path: Path, server: MockServer) -> None:
    """What stops the owner for good is no reason to take its place."""
    server.behaviour = Behaviour(latency=0.02, share_500=1.0)
    trial = shared(tmp_path, server)
    trial.set(run={"max_failures": 40}, engine={"retries": 0})
    processes = [begin(trial, "--join", "2") for _ in range(2)]
    assert sorted(end(process)[0] for process in processes) == [4, 4]


@pytest.fixture
def owned(tmp_path: Path, server: MockServer) -> Iterator[Trial]:
    """A run that another process owns, and would share."""
    server.behaviour = Behaviour(latency=0.5)
    trial = shared(tmp_path, server)
    trial.set(source={"path": trial.source.name})
    process = begin(trial, "--join", "2")
    until(lambda: server.stats.calls > 0)
    yield trial
    assert process.poll() is None
    process.kill()
    process.communicate()


def another(trial: Trial, **keys: Any) -> Trial:
    """The same run, as another configuration has it."""
    folder = trial.folder / "another"
    folder.mkdir()
    other = Trial(folder)
    other.config = {**trial.config, **keys}
    return other


def refused(process: subprocess.Popen[bytes]) -> str:
    """What a process is told that makes nothing; a line."""
    out, err = process.communicate(timeout=60)
    assert process.returncode
    said = orjson.loads(out)["error"] if out else err.decode().rstrip()
    assert "\n" not in said
    return str(said)


def test_another_configuration_cannot_join(owned: Trial) -> None:
    """Another prompt, or another source."""
    prompt = [{"name": "answer", "type": "llm", "prompt": "Another: {q}"}]
    other = another(owned, outputs=prompt)
    other.write(questions(1_000))
    assert "has another configuration than the owner" in refused(begin(other, "--join", "2"))
    other.config = {**owned.config, "source": {"path": "in.jsonl", "limit": 90}}
    assert "has another configuration than the owner" in refused(begin(other, "--join", "2"))


def test_another_version_cannot_join(owned: Trial) -> None:
    """It names both: what one writes, the other may not read."""
    code = "import sys, mirage; mirage.__version__ = '9.9'; sys.argv[0] = 'mirage'\n"
    code += "from mirage.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "run", "config.yaml", "--join", "2"]
    other = subprocess.Popen(
        command, cwd=owned.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert f"is MIRAGE 9.9, the owner of the run, rank 0, {__version__}" in refused(other)


def test_a_source_that_is_another_elsewhere(owned: Trial) -> None:
    """The same path, and another disk: files that are not the owner's are looked into."""
    other = another(owned)
    other.write(questions(1_000, start=7))
    told = refused(begin(other, "--join", "2"))
    assert "in.jsonl: rows 1 to 40 are not what they are to the owner" in told
    other.write(questions(1_000))
    copied = begin(other, "--join", "2")
    until(lambda: len([*owned.run_dir.glob("progress-*.json")]) == 2)
    assert copied.poll() is None
    copied.terminate()
    assert end(copied)[0] == 130


def test_who_is_alone_is_told(tmp_path: Path, server: MockServer) -> None:
    """Others that see another disk cannot be seen; that nobody has come can."""
    trial = shared(tmp_path, server, 40)
    code, summary, err = end(begin(trial, "--join", "2"))
    assert (code, summary.get("processes")) == (0, 1), (summary, err)
    assert "no other process has worked in" in str(summary["warnings"])
    _, nothing_owed, _ = end(begin(trial, "--join", "2"))
    assert nothing_owed["warnings"] == []


def finished(tmp_path: Path) -> Trial:
    trial = Trial(tmp_path, questions(200), run={"block_rows": 50})
    assert trial.run().exit_code == 0
    return trial


def test_a_merge_makes_the_same_dataset(tmp_path: Path) -> None:
    """Out of the parts alone: no engine is opened, and no model asked."""
    trial = finished(tmp_path)
    data = trial.data()
    trial.target.unlink()
    merged = merge(trial.job())
    assert trial.data() == data
    assert (merged.counts.written, merged.left_out) == (200, [])


def test_a_merge_names_what_is_missing(tmp_path: Path) -> None:
    """A block that was deleted is rows of the source; nothing is written, nothing overwritten."""
    trial = finished(tmp_path)
    data = trial.data()
    shutil.rmtree(trial.run_dir / "blocks" / "000002")
    with pytest.raises(RunError, match=r"50 rows in 1 block are owed: in.jsonl rows 101 to 150"):
        merge(trial.job())
    assert trial.data() == data
    merged = merge(trial.job(), partial=True)
    assert merged.counts.written == 150
    assert merged.left_out == [{"file": "in.jsonl", "first": 101, "last": 150}]
    manifest = orjson.loads((trial.run_dir / "manifest.json").read_bytes())
    assert manifest["left_out"] == merged.left_out
    assert trial.data() != data
    assert trial.run().exit_code == 0
    assert trial.data() == data


@pytest.mark.parametrize("harm", ["torn", "gone", "journal"])
def test_a_part_that_is_not_whole_is_missing(tmp_path: Path, harm: str) -> None:
    """A part cut short, a part deleted, a journal that was written after it."""
    trial = finished(tmp_path)
    (part,) = (trial.run_dir / "blocks" / "000001").glob("part-*")
    if harm == "torn":
        part.write_bytes(part.read_bytes()[:-20])
    elif harm == "gone":
        part.unlink()
    else:
        shutil.copy(part.parent / "attempt-0000.sqlite", part.parent / "attempt-0001.sqlite")
    with pytest.raises(RunError, match="rows 51 to 100"):
        merge(trial.job())


def test_a_merge_of_a_source_that_was_not_read_to_its_end(tmp_path: Path) -> None:
    """What was never cut into blocks is owed as well."""
    trial = finished(tmp_path)
    lines = (trial.run_dir / "blocks.jsonl").read_bytes().splitlines(keepends=True)
    (trial.run_dir / "blocks.jsonl").write_bytes(b"".join(lines[:3]))
    note = orjson.loads((trial.run_dir / "source.json").read_bytes())
    (trial.run_dir / "source.json").write_bytes(orjson.dumps({**note, "complete": False}))
    with pytest.raises(RunError, match=r"not read beyond in.jsonl row 150"):
        merge(trial.job())
    left = merge(trial.job(), partial=True).left_out
    assert left == [{"file": "in.jsonl", "first": 151, "last": None}]


def test_a_merge_of_another_source(tmp_path: Path) -> None:
    """The rows must still be those that the blocks were made of."""
    trial = finished(tmp_path)
    trial.write(questions(200, start=7))
    with pytest.raises(SourceChangedError):
        merge(trial.job())


def test_a_merge_while_a_run_goes_on(tmp_path: Path) -> None:
    """It is for runs whose processes have gone."""
    trial = finished(tmp_path)
    with Lock(trial.run_dir), pytest.raises(LockedError):
        merge(trial.job())


def test_a_merge_from_python(tmp_path: Path) -> None:
    """By its configuration, or by its folder."""
    trial = finished(tmp_path)
    assert api.merge(trial.file()).counts.written == 200
