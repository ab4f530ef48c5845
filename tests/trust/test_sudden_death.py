"""`kill -9`, wherever it strikes: nothing is lost, nothing is there twice, little is paid twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mirage.engines.mock import Behaviour, MockServer, running

from .trial import Trial, lines, questions, started

CHILD = Path(__file__).with_name("child.py")
IN_FLIGHT = 16


@pytest.fixture
def server() -> Iterator[MockServer]:
    with running(Behaviour(latency=0.02, jitter=0.015)) as server:
        yield server


def strike(trial: Trial, server: MockServer, rng: random.Random, most: int, word: str) -> None:
    """Kill a run after a random number of calls, `most` at most, and a random moment."""
    before, calls = server.stats.calls, rng.randint(0, most)
    process = started(trial, word)
    while server.stats.calls - before < calls and process.poll() is None:
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.02 if calls else 0.5))
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was done before it was killed"


def repeated(server: MockServer) -> int:
    """How many calls were made more than once."""
    return sum(calls - 1 for calls, _ in server.stats.prompts.values())


def test_twenty_times_over_5000_rows(tmp_path: Path, server: MockServer) -> None:
    """Killed twenty times at random moments, a run writes what an undisturbed one writes, byte by
    byte, and repeats no more calls than were in flight.
    """
    trial = Trial(tmp_path, questions(5_000), server.base_url)
    trial.set(run={"block_rows": 400}, engine={"max_in_flight": IN_FLIGHT})
    rng = random.Random(20)
    for _ in range(20):
        strike(trial, server, rng, 200, "run")
    assert not trial.target.exists()
    server.behaviour = Behaviour()
    summary = trial.run()
    assert summary.exit_code == 0
    assert summary.counts.written == summary.counts.read == 5_000
    assert len(server.stats.prompts) == 5_000
    assert repeated(server) <= 20 * IN_FLIGHT
    survived = trial.data()
    assert summary.usage.calls < 4_500, "it was killed before it did anything"
    trial.forget()
    trial.run()
    assert trial.data() == survived


def test_during_a_retry(tmp_path: Path, server: MockServer) -> None:
    """Killed six times, a retry brings home what an undisturbed one brings home."""
    server.behaviour = Behaviour(share_500=0.5)
    trial = Trial(tmp_path, questions(600), server.base_url)
    trial.set(run={"block_rows": 150}, engine={"max_in_flight": IN_FLIGHT, "retries": 0})
    failed = trial.run().counts.failed
    assert failed > 200
    assert len(trial.output()) == 600 - failed
    before, paid = trial.data(), server.stats.calls
    server.behaviour = Behaviour(latency=0.05, jitter=0.04)
    rng = random.Random(6)
    for _ in range(6):
        strike(trial, server, rng, 30, "retry")
        assert trial.data() == before, "a dataset was replaced before the retry was done"
    server.behaviour = Behaviour()
    summary = trial.retry()
    assert summary.exit_code == 0
    assert [row["q"] for row in trial.output()] == [row["q"] for row in questions(600)]
    assert 0 < summary.usage.calls < failed
    assert server.stats.calls - paid <= failed + 6 * IN_FLIGHT


def pictures(folder: Path, count: int) -> None:
    rows = []
    for number in range(count):
        buffer = BytesIO()
        Image.new("RGB", (4, 4), (number, 0, 0)).save(buffer, "PNG")
        rows.append({"q": f"row {number}", "image": {"bytes": buffer.getvalue(), "path": None}})
    pq.write_table(pa.Table.from_pylist(rows), folder / "in.parquet")


def whole(target: Path) -> dict[str, bytes]:
    """All files of a dataset, by name."""
    files = [target] if target.is_file() else [f for f in target.rglob("*") if f.is_file()]
    return {str(file.relative_to(target.parent)): file.read_bytes() for file in files}


@pytest.mark.parametrize(("sink", "stride"), [("out.jsonl", 2), ("out.parquet", 3), ("hf", 3)])
def test_before_every_change_of_a_file(tmp_path: Path, sink: str, stride: int) -> None:
    """Killed before its first change to the file system, then before its second, and so on, a run
    comes to its end; a reader sees the old dataset, or the new one.
    """
    pictures(tmp_path, 6)
    image = {"name": "image", "key": "image", "type": "image"}
    trial = Trial(tmp_path, (), inputs=[{"name": "q", "key": "q"}, image])
    trial.set(
        source={"path": str(tmp_path / "in.parquet")},
        sink={"path": str(tmp_path / sink), "format": "hf" if sink == "hf" else None},
        output_schema={"q": "{q}", "image": "{image}", "answer": "{answer}"},
        run={"block_rows": 3},
    )
    if sink != "hf":
        del trial.config["sink"]["format"]
    deaths = die_often(trial, [{}], stride)
    new = whole(trial.target)
    undisturbed = Trial(tmp_path, ())
    undisturbed.config = {
        **trial.config,
        "run": {**trial.config["run"], "dir": str(tmp_path / "r")},
    }
    undisturbed.run()
    assert whole(trial.target) == new
    trial.set(output_schema={"q": "{q}", "image": "{image}", "twice": "{answer} {answer}"})
    deaths += die_often(trial, [new], stride)
    assert whole(trial.target) != new
    assert deaths * stride > 60
    assert not list(trial.run_dir.rglob(".mirage-*"))


def die_often(trial: Trial, seen: list[dict[str, bytes]], stride: int) -> int:
    """Run until it is done, killed ever later, by a stride. The dataset is all the time one of
    those seen, or a single other one. Returns the number of deaths.
    """
    words = [sys.executable, "-B", str(CHILD), str(trial.file())]
    deaths = 0
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        while True:
            print(deaths * stride + 1, file=child.stdin, flush=True)
            code = int(child.stdout.readline())
            now = whole(trial.target) if trial.target.exists() else {}
            if now not in seen:
                seen.append(now)
            assert len(seen) <= 2
            if code != -signal.SIGKILL:
                assert code == 0
                return deaths
            deaths += 1


def test_workers_do_not_outlive_their_run(tmp_path: Path) -> None:
    """The worker processes of a killed run end by themselves, and its lock is free."""
    pids = tmp_path / "pids"
    (tmp_path / "steps.py").write_text(
        "import os, time\n"
        f"def slow(q):\n    open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "    time.sleep(0.2)\n    return q\n"
    )
    step = {
        "name": "slow",
        "type": "python",
        "function": "slow",
        "file": str(tmp_path / "steps.py"),
    }
    trial = Trial(tmp_path, questions(8), outputs=[step], output_schema={"q": "{slow}"})
    process = started(trial)
    deadline = time.monotonic() + 20
    while not (pids.exists() and pids.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    left = {int(pid) for pid in pids.read_text().split()}
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if Path(f"/proc/{pid}/cmdline").exists() and alive(pid)}
        time.sleep(0.05)
    assert not left
    assert trial.run().exit_code == 0
    assert trial.data() == lines(questions(8))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
