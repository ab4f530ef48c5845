"""`mirage status`: how a run stands, without disturbing it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import orjson

from mirage.work.lock import Lock

from .commands import document, mirage, project, start

FAILING = "{backend: fake, args: {fail: 0.3}}"


def test_a_finished_run_is_done_with_its_counts(tmp_path: Path) -> None:
    """State, sums, cost and dataset."""
    mirage("run", project(tmp_path))
    result = mirage("status", tmp_path / "run")
    assert result.exit_code == 0
    assert result.stdout.startswith("done")
    assert "read 20 = written 20 + dropped 0 + failed 0" in result.stdout
    assert "out.jsonl" in result.stdout


def test_failed_records_are_listed_on_request(tmp_path: Path) -> None:
    """With place, cause, step and message; as many as asked for; and what to do next."""
    mirage("run", project(tmp_path, engine=FAILING))
    result = mirage("status", tmp_path / "run", "--failures", "2")
    assert result.stdout.count("engine/fake in 'a'") == 2
    assert result.stdout.splitlines()[-1].startswith("next: mirage retry")
    found = document(mirage("status", tmp_path / "run", "--failures", "99", "--json").stdout)
    assert len(found["failed"]) == found["counts"]["failed"] > 2
    assert found["failed"][0]["boundary"] == "engine"


def test_a_torn_line_is_shown_as_what_was_read(tmp_path: Path) -> None:
    """No model has replied to it."""
    config = project(tmp_path)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"q": "torn\n')
    mirage("run", config)
    told = mirage("status", tmp_path / "run", "--failures", "1").stdout
    assert 'text      {"q": "torn' in told
    assert "reply" not in told


def test_a_live_run_is_seen_from_outside(tmp_path: Path) -> None:
    """Its owner, rate and calls under way, while it goes; then that it was interrupted."""
    slow = "{backend: fake, max_in_flight: 2, args: {latency: 0.1}}"
    running = start("run", project(tmp_path, rows=200, engine=slow))
    try:
        seen: dict[str, object] = {}
        while seen.get("state") != "running" or not seen["counts"]["written"]:  # type: ignore[index]
            assert running.poll() is None
            time.sleep(0.1)
            if (tmp_path / "run" / "progress.json").exists():
                seen = document(mirage("status", tmp_path / "run", "--json").stdout)
        told = mirage("status", tmp_path / "run").stdout
        assert f"running by process {running.pid}" in told
        assert "in flight of 2" in told
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=30)
    told = mirage("status", tmp_path / "run").stdout
    assert told.startswith("interrupted")
    assert "finished blocks" not in told  # there are none
    assert ", by the last process" in told
    assert told.splitlines()[-1] == f"next: mirage run {tmp_path / 'ask.yaml'}"


def test_a_killed_run_is_unfinished(tmp_path: Path) -> None:
    """Nobody owns it, and it could not say how it ended."""
    slow = "{backend: fake, max_in_flight: 2, args: {latency: 0.1}}"
    running = start("run", project(tmp_path, rows=200, engine=slow))
    while not (tmp_path / "run" / "progress.json").exists():
        time.sleep(0.05)
    running.kill()
    running.communicate(timeout=30)
    assert mirage("status", tmp_path / "run").stdout.startswith("unfinished")


def test_something_else_is_a_mistake(tmp_path: Path) -> None:
    """A folder that is no run's, and one that is not there: exit code 2."""
    assert mirage("status", tmp_path).exit_code == 2
    assert mirage("status", tmp_path / "none").exit_code == 2


def test_a_damaged_note_is_told(tmp_path: Path) -> None:
    """Exit code 1, with the name of the file."""
    (tmp_path / "progress.json").write_text("{torn")
    result = mirage("status", tmp_path)
    assert result.exit_code == 1
    assert "progress.json is damaged" in result.stderr


def test_the_processes_of_a_run_and_its_jobs(tmp_path: Path) -> None:
    """Who works on which share, as they have saved it last; blocks; jobs that SLURM has."""
    config = project(tmp_path, rows=100)
    config.write_text(config.read_text().replace("dir: run", "dir: run, block_rows: 10"))
    mirage("run", config)
    run = tmp_path / "run"
    saved = orjson.loads((run / "progress.json").read_bytes())
    other = {**saved, "phase": "running", "who": "process 7 on b", "rate": 2.0, "in_flight": 3}
    other["counts"] = {**saved["counts"], "read": 40}
    (run / "progress-5.json").write_bytes(orjson.dumps(other))
    (run / "progress-6.json").write_bytes(orjson.dumps({**other, "phase": "done"}))
    (run / "blocks" / "000002" / "part.json").unlink()
    (run / "blocks" / "000003" / "part.json").unlink()
    with Lock(run), Lock(run / "blocks" / "000002"):
        found = document(mirage("status", run, "--json").stdout)
        told = mirage("status", run).stdout
    assert [(each["who"], each["settled"]) for each in found["workers"]] == [
        (saved["who"], 20),
        ("process 7 on b", 40),
    ]
    assert "process 7 on b: running, 40 settled, 2.0 records/s, 3 in flight" in told
    assert "8 finished, 1 under way, 1 owed" in told
    assert (found["blocks"], found["blocks_claimed"], found["jobs"]) == (10, 1, [])
