"""A second process where one is too slow: when it is started, and what it is left."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from msgspec.structs import replace

from mirage.api import could_recruit
from mirage.config import load_config
from mirage.config.models import EngineConfig
from mirage.engines.openai import OpenAIEngine
from mirage.report import Progress
from mirage.scale import recruit
from mirage.scale.local import Team
from mirage.scale.recruit import Recruiter, cores
from mirage.work.rank import Rank

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
ROWS = 10


@pytest.fixture
def recruiter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recruiter]:
    """One that finds its process busy; who it starts sleeps."""
    monkeypatch.setattr(recruit, "BUSY", 0.0)
    team = Team(Rank(0, 1, "launch", recruits=True), SLEEP)
    yield Recruiter(team)
    for process in team.others:
        process.kill()
        process.wait()


def engine(**keys: Any) -> OpenAIEngine:
    given = {"base_url": "http://127.0.0.1:1/v1", "model_path": "m", "max_in_flight": 15, **keys}
    return OpenAIEngine(EngineConfig(**given), name="engine")


def progress(left: int, settled: int = 100) -> Progress:
    """One record a second so far."""
    shown = Progress(surveyed=settled + left, started=time.time() - settled)
    shown.counts.written = settled
    return shown


def looked(recruiter: Recruiter, engine: Any, shown: Progress | None = None) -> int:
    """How many have been started after a look."""
    asyncio.run(recruiter.look(shown or progress(2 * ROWS), [engine], ROWS))
    return len(recruiter.team.others)


def test_a_busy_process_is_helped_once(recruiter: Recruiter) -> None:
    """The other one gets half of what may be in flight, the odd call stays here."""
    shared = engine()
    assert looked(recruiter, shared) == looked(recruiter, shared) == 1
    assert shared.window.limit == 8


def test_several_endpoints_are_shared_as_well(recruiter: Recruiter) -> None:
    shared = engine(base_url=["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"])
    assert looked(recruiter, shared) == 1
    assert [each.window.limit for each in shared.endpoints.every] == [4, 4]


def test_when_it_has_died_all_is_taken_back(recruiter: Recruiter) -> None:
    """It is not replaced: what killed it may do so again."""
    shared = engine()
    looked(recruiter, shared)
    recruiter.team.others[0].kill()
    recruiter.team.others[0].wait()
    assert looked(recruiter, shared) == 1
    assert shared.window.limit == 15


def test_where_none_can_be_started_the_run_goes_on_alone(recruiter: Recruiter) -> None:
    recruiter.team = MagicMock(wraps=recruiter.team, others=[], rank=recruiter.team.rank)
    recruiter.team.start.side_effect = OSError("no memory")
    shared = engine()
    assert looked(recruiter, shared) == looked(recruiter, shared) == 0
    assert shared.window.limit == 15
    assert recruiter.team.start.call_count == 1


def test_ranks_of_a_launch_are_given_no_other(recruiter: Recruiter) -> None:
    recruiter.team.rank = Rank(0, 2, "launch")
    assert looked(recruiter, engine()) == 0


def test_who_starts_is_deaf_to_the_keyboard(tmp_path: Path) -> None:
    """A Ctrl-C in the terminal meets an interpreter that has yet to import anything."""
    heard = tmp_path / "heard"
    code = "import signal, sys; open(sys.argv[1], 'w').write(str(signal.getsignal(signal.SIGINT)))"
    team = Team(Rank(0, 2, "launch"), [sys.executable, "-c", code, str(heard)])
    team.start(1, 2)
    team.finish(10)
    assert team.gone() == [1]
    assert heard.read_text() == str(signal.SIG_IGN)


def test_what_another_process_cannot_read_is_worked_on_alone(tmp_path: Path) -> None:
    """A shell's `<(...)` is a file of this process."""
    path = tmp_path / "job.yaml"
    engine = "engine: {base_url: 'http://127.0.0.1:1/v1', model_path: m}"
    path.write_text(f"{engine}\ninputs: []\noutput_schema: {{q: 1}}")
    whole = load_config(path)
    assert could_recruit(path, whole) == (cores() > 1)
    assert not could_recruit("/dev/fd/63", replace(whole, file="/dev/fd/63"))


def test_an_idle_process_is_not_helped(
    recruiter: Recruiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recruit, "BUSY", 0.75)
    now = time.process_time(), time.monotonic()
    recruiter.last = now[0], now[1] - 1
    assert looked(recruiter, engine()) == 0
    recruiter.last = now[0] - 1, now[1] - 1
    assert looked(recruiter, engine()) == 1


def test_a_short_while_says_nothing(recruiter: Recruiter) -> None:
    """However busy it was: a run begins with many calls at once."""
    recruiter.last = (0.0, time.monotonic())
    assert looked(recruiter, engine()) == 0
    recruiter.last = (0.0, time.monotonic() - 1)
    assert looked(recruiter, engine()) == 1


@pytest.mark.parametrize("left", [0, 2 * ROWS - 1])
def test_too_few_rows_are_left(recruiter: Recruiter, left: int) -> None:
    assert looked(recruiter, engine(), progress(left)) == 0


def test_too_little_time_is_left(recruiter: Recruiter) -> None:
    quick = progress(2 * ROWS, settled=1000)
    quick.started = time.time() - 1
    assert looked(recruiter, engine(), quick) == 0


@pytest.mark.parametrize("budget", [{"rpm": 60}, {"tpm": 60}, {"max_in_flight": 1}])
def test_a_budget_is_not_divided(recruiter: Recruiter, budget: dict[str, int]) -> None:
    assert looked(recruiter, engine(**budget)) == 0


def test_a_model_in_the_process_is_not_loaded_twice(recruiter: Recruiter) -> None:
    from mirage.engines.fake import FakeEngine

    assert looked(recruiter, FakeEngine(EngineConfig(), name="engine")) == 0


def test_calls_that_take_their_time_need_no_help(
    recruiter: Recruiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than half are in flight, and stay so: the process is not what holds them up. Nobody
    waits for that a second time soon.
    """
    monkeypatch.setattr(recruit, "DRAIN_SECONDS", 0.05)
    shared = engine()
    shared.window.held = 9  # type: ignore[attr-defined]
    assert looked(recruiter, shared) == 0
    assert shared.window.limit == 15
    shared.window.held = 0  # type: ignore[attr-defined]
    assert looked(recruiter, shared) == 0
