"""What stops a run, what does not, and what is kept."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirage.engines.mock import Behaviour, running
from mirage.errors import LockedError
from mirage.scale.roll_call import RollCall
from mirage.work.publish import publish

from .engine import Scripted
from .trial import Trial, questions, started


def test_a_slow_call_delays_only_its_own_record(tmp_path: Path) -> None:
    """While one call takes two seconds, records of other blocks, before and behind, go on."""
    engine = Scripted(capacity=8)
    engine.slow = {"Answer this: question 3": 2.0}
    trial = Trial(tmp_path, questions(200), engine, run={"block_rows": 20})
    began = time.monotonic()
    trial.run()
    assert time.monotonic() - began < 4
    assert engine.order[-1] == "Answer this: question 3"
    assert [row["q"] for row in trial.output()] == [row["q"] for row in questions(200)]


def test_slow_calls_do_not_add_up(tmp_path: Path) -> None:
    """One slow call in each block: they are waited for together."""
    engine = Scripted(capacity=32)
    engine.slow = {f"Answer this: question {number}": 1.0 for number in range(0, 400, 40)}
    trial = Trial(tmp_path, questions(400), engine, run={"block_rows": 40})
    began = time.monotonic()
    trial.run()
    assert time.monotonic() - began < 3


def test_max_failures_as_a_count(tmp_path: Path) -> None:
    """The run stops when more records have failed than are allowed; what is finished is kept."""
    engine = Scripted({f"Answer this: question {n}": None for n in range(10, 100, 10)})
    trial = Trial(tmp_path, questions(100), engine, run={"max_failures": 4})
    summary = trial.run()
    assert summary.exit_code == 4
    assert "5 records failed" in summary.reason
    assert not trial.target.exists()
    assert 5 <= summary.counts.failed <= 9
    asked = engine.asked.total()
    assert asked < 100
    trial.set(run={"max_failures": 9})
    assert trial.run().exit_code == 3
    assert max(engine.asked.values()) == 1
    assert len(trial.output()) == 91


def test_max_failures_as_a_share(tmp_path: Path) -> None:
    """A share is judged after a hundred outcomes, over all of them."""
    bad = {f"Answer this: question {number}": None for number in range(0, 1_000, 2)}
    trial = Trial(tmp_path, questions(1_000), Scripted(bad), run={"max_failures": 0.4})
    summary = trial.run()
    assert summary.exit_code == 4
    assert 100 <= summary.counts.read < 200
    assert "%" in summary.reason
    trial.set(run={"max_failures": 0.6})
    assert trial.run().exit_code == 3
    assert len(trial.output()) == 500


def test_a_share_of_few_records(tmp_path: Path) -> None:
    """Below a hundred outcomes a share stops nothing."""
    bad = {f"Answer this: question {number}": None for number in range(50)}
    trial = Trial(tmp_path, questions(60), Scripted(bad), run={"max_failures": 0.1})
    assert trial.run().exit_code == 3


def test_on_error_stop(tmp_path: Path) -> None:
    """`on_error: stop` gives up at the first failed record, in one line that says why; running
    again goes on with the others.
    """
    engine = Scripted({"Answer this: question 7": None})
    trial = Trial(tmp_path, questions(300), engine, run={"on_error": "stop"})
    summary = trial.run()
    assert summary.exit_code == 4
    assert "no answer to Answer this: question 7" in summary.reason
    assert "\n" not in summary.reason
    assert engine.asked.total() < 60
    assert trial.run().exit_code == 3
    assert max(engine.asked.values()) == 1
    engine.answers.clear()
    assert trial.retry().exit_code == 0


def test_on_error_stop_with_children(tmp_path: Path) -> None:
    """The reason names the failure of a child, too."""
    item = {
        "name": "item", "prompt": "List {q}", "output_type": "JSON", "many": True,
        "output_schema": ["word"], "format_note": False,
    }  # fmt: skip
    said = {"name": "said", "prompt": "Say {item.word}"}
    engine = Scripted({"List x": '{"items": [{"word": "good"}, {"word": "bad"}]}', "Say bad": None})
    trial = Trial(tmp_path, [{"q": "x"}], engine, outputs=[item, said], run={"on_error": "stop"})
    trial.set(output_schema={"said": "{said}"})
    assert "no answer to Say bad" in trial.run().reason


def test_what_a_part_cannot_hold_counts_too(tmp_path: Path) -> None:
    """Rows that the output refuses are failures for `max_failures` and `on_error` as well."""
    rows = [{"q": n if n % 2 else f"text {n}"} for n in range(40)]
    trial = Trial(tmp_path, rows, Scripted(), sink={"path": str(tmp_path / "out.parquet")})
    trial.set(run={"max_failures": 3})
    summary = trial.run()
    assert (summary.exit_code, trial.target.exists()) == (4, False)
    trial.set(run={"max_failures": 20})
    summary = trial.run()
    assert (summary.exit_code, summary.counts.failed) == (3, 20)
    assert summary.usage.calls == 0


def test_a_run_waits_out_a_burst_of_429(tmp_path: Path) -> None:
    """Nothing fails while the endpoint asks for patience."""
    with running(Behaviour(share_429=0.1, retry_after=1)) as server:
        trial = Trial(tmp_path, questions(60), server.base_url, engine={"retries": 20})
        assert trial.run().exit_code == 0


def test_two_processes_on_one_run(tmp_path: Path) -> None:
    """While a run goes on, a second one is refused and changes nothing; killed, it is inherited."""
    with running(Behaviour(latency=0.2)) as server:
        trial = Trial(tmp_path, questions(200), server.base_url)
        first = started(trial)
        wait_for(lambda: server.stats.calls > 0)
        with pytest.raises(LockedError, match=f"process {first.pid}"):
            trial.run()
        first.kill()
        first.wait()
        server.behaviour = Behaviour()
        assert trial.run().exit_code == 0
        assert server.stats.calls <= 200 + 16


def test_ctrl_c_finishes_what_is_under_way(tmp_path: Path) -> None:
    """After one SIGINT no call is made and none is lost; the run says 130, and goes on later."""
    with running(Behaviour(latency=0.5)) as server:
        trial = Trial(tmp_path, questions(200), server.base_url)
        process = started(trial)
        wait_for(lambda: server.stats.calls > 20)
        process.send_signal(signal.SIGINT)
        made = server.stats.calls
        assert process.wait(20) == 130
        assert server.stats.calls - made <= 16
        server.behaviour = Behaviour()
        assert trial.run().exit_code == 0
        assert server.stats.calls == 200


def test_ctrl_c_twice_does_not_wait(tmp_path: Path) -> None:
    """A second SIGINT ends the run at once, and what was finished is kept."""
    with running(Behaviour(hang=0.5)) as server:
        trial = Trial(tmp_path, questions(200), server.base_url)
        process = started(trial)
        wait_for(lambda: server.stats.in_flight == 16)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.wait(20) == 130
        assert time.monotonic() - began < 5
        server.behaviour = Behaviour()
        assert trial.run().exit_code == 0
        assert server.stats.calls <= 200 + 16


def interrupting(times: int) -> None:
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)


def test_ctrl_c_while_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes too late: the dataset and its manifest are there, and the run is done."""
    trial = Trial(tmp_path, questions(3))

    def slowly(*given: Any) -> None:
        interrupting(1)
        publish(*given)

    monkeypatch.setattr("mirage.pipeline.publish", slowly)
    assert trial.run().exit_code == 0
    assert trial.target.with_name("out.jsonl.manifest.json").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_others_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Once is too late, and nothing is lost by it; twice ends the wait."""
    trial = Trial(tmp_path, questions(3))
    end = RollCall.end

    async def waiting(ranks: RollCall, state: str, reason: str) -> None:
        interrupting(times)
        await asyncio.sleep(0.05)
        await end(ranks, state, reason)

    monkeypatch.setattr(RollCall, "end", waiting)
    if times == 1:
        assert trial.run().exit_code == 0
    else:
        with pytest.raises(KeyboardInterrupt):
            trial.run()
    assert len(trial.output()) == 3
    assert not (trial.run_dir / "lock").exists()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
