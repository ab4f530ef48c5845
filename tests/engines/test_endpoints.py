"""Several endpoints: who gets the next call, who is left out, and when a run gives up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage.engines import endpoints as module
from mirage.engines.endpoints import Endpoint, Endpoints, SharedWindow, Turn
from mirage.engines.http import PassingError, Secrets
from mirage.engines.mock import Behaviour, running
from mirage.engines.openai import OpenAIEngine
from mirage.engines.retry import persist
from mirage.engines.window import AdaptiveWindow
from mirage.errors import ConfigError, EngineError, StoppedError
from mirage.record import Completion

from . import canned
from .asking import answers, endpoint, failure, request
from .test_window import Clock, in_loop

REFUSED = PassingError("connection", "refused", unreached=True)
RESET = PassingError("connection", "reset")
BROKEN = PassingError("http_500", "broken")
BUSY = PassingError("http_429", "busy", load=True)


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_REST", 0.02)
    monkeypatch.setattr(module, "LONGEST_REST", 0.1)


def several(count: int, limit: int = 12, **keys: Any) -> Endpoints:
    window = SharedWindow(limit) if count > 1 else AdaptiveWindow(limit)
    return Endpoints([str(n) for n in range(count)], window, retries=3, **keys)


def take(group: Endpoints) -> Turn:
    turn = group.take()
    assert turn is not None
    return turn


def lose(group: Endpoints, turn: Turn, fault: PassingError = REFUSED) -> bool:
    return group.failed(turn, fault, group.window.now())


def widths(group: Endpoints) -> list[int]:
    return [each.window.size for each in group.every]


@in_loop
async def test_shares_and_the_least_busy() -> None:
    """Each endpoint gets its share, and calls are dealt out evenly up to all of it."""
    group = several(3, 12)
    assert widths(group) == [4, 4, 4]
    turns = [take(group) for _ in range(12)]
    assert sorted(turn.endpoint.url for turn in turns) == sorted("012" * 4)
    assert group.take() is None
    group.give_back(turns[5])
    assert take(group).endpoint is turns[5].endpoint


@in_loop
async def test_a_dead_endpoints_share_is_taken_over_and_given_back() -> None:
    """Down at the first refused connection, up after a trial that succeeds, never too many."""
    clock = Clock()
    group = several(4, 12, clock=clock)
    dead = take(group)
    group.replied(group.every[1])
    assert not lose(group, dead)
    assert not dead.endpoint.up
    assert [each.window.size for each in group.every if each.up] == [4, 4, 4]
    assert group.window.size == 12
    for _ in range(12):
        assert take(group).endpoint is not dead.endpoint
    assert group.take() is None
    clock.now += 1
    trial = take(group)
    assert trial.endpoint is dead.endpoint and trial.on_trial
    assert group.take() is None  # one trial at a time
    group.answered(trial, 0)
    assert widths(group) == [3, 3, 3, 3] and not group.out


@in_loop
async def test_stragglers_are_no_trials() -> None:
    """Calls that were sent before an endpoint went down do not make its rest longer."""
    clock = Clock()
    group = several(2, 8, clock=clock)
    turns = [take(group) for _ in range(8)]
    lost = [turn for turn in turns if turn.endpoint is group.every[0]]
    assert not lose(group, lost[0]) and not group.every[0].up
    assert all(lose(group, turn, RESET) for turn in lost[1:])
    assert group.every[0].trials == 0
    clock.now += 1
    trial = take(group)
    assert trial.on_trial and not lose(group, trial)
    assert group.every[0].trials == 1


@pytest.mark.parametrize("count", [1, 2])
def test_one_outage_after_another(count: int) -> None:
    """After a trial that brought an endpoint back, the next outage has its trials, too."""
    clock = Clock()
    group = several(count, clock=clock)
    group.heard = True
    for _ in range(3):
        while (turn := group.take()) is not None:
            group.failed(turn, REFUSED, clock.now)
        assert group.out
        clock.now += 60
        for _ in range(count):
            trial = take(group)
            assert trial.on_trial
            group.answered(trial, 1)
        assert not group.out and all(each.up for each in group.every)


@in_loop
async def test_faults_in_a_row() -> None:
    """Five in a row put an endpoint down; an answer between them counts from the start again."""
    group = several(2)
    first = group.every[0]
    for fault in (BROKEN, RESET, PassingError("timeout", "slow"), BROKEN):
        assert group.failed(Turn(first), fault, 0.0)
    group.replied(first)
    for _ in range(4):
        group.failed(Turn(first), BROKEN, 0.0)
    assert first.up
    group.failed(Turn(first), BROKEN, 0.0)
    assert not first.up


@in_loop
async def test_a_rest_is_as_long_as_the_server_asks() -> None:
    """Retry-After holds for the trial of an endpoint that is down, too."""
    clock = Clock()
    group = several(1, clock=clock)
    group.heard = True
    full = PassingError("http_503", "full", load=True, retry_after=7)
    for _ in range(5):
        group.failed(Turn(group.every[0]), full, 0.0)
    clock.now += 6.9
    assert group.out and group.take() is None
    clock.now += 0.2
    assert take(group).on_trial


@in_loop
async def test_the_last_one_is_not_left_out_for_what_it_answers() -> None:
    """Whoever answers at all, however badly, is kept where there is nobody else."""
    group = several(2)
    one, other = group.every
    for _ in range(20):
        group.failed(Turn(one), BROKEN, 0.0)
        group.failed(Turn(other), BROKEN, 0.0)
    assert [one.up, other.up] == [False, True]
    alone = several(1)
    for _ in range(20):
        alone.failed(Turn(alone.every[0]), BROKEN, 0.0)
    assert alone.every[0].up
    lose(alone, Turn(alone.every[0]))
    assert alone.out


@in_loop
async def test_a_throttled_endpoint_alone_is_narrowed() -> None:
    """A 429 halves one window, the others stay; Retry-After closes that one endpoint."""
    clock = Clock()
    group = several(2, 16, clock=clock)
    for each in group.every:
        each.window._clock = clock
    clock.now += 1
    busy = PassingError("http_429", "busy", load=True, retry_after=5)
    group.failed(Turn(group.every[0]), busy, clock.now)
    assert widths(group) == [4, 8] and group.window.size == 12
    assert {take(group).endpoint for _ in range(8)} == {group.every[1]}
    assert group.take() is None
    clock.now += 6
    assert take(group).endpoint is group.every[0]


@in_loop
async def test_calls_in_line_lose_nothing_when_cancelled() -> None:
    """However many that wait are cancelled, every turn comes back."""
    group = several(2, 4)

    async def call() -> None:
        turn = group.take() or await group.wait()
        try:
            await asyncio.sleep(0.001)
        finally:
            group.give_back(turn)

    for delay in range(12):
        tasks = [asyncio.create_task(call()) for _ in range(12)]
        for _ in range(delay):
            await asyncio.sleep(0)
        if delay % 3 == 0:
            await asyncio.sleep(0.0012)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert [each.window._active for each in group.every] == [0, 0]
        assert not group._line


class Fleet:
    """Calls to endpoints that fail as they are told: by URL, a fault or None for an answer."""

    def __init__(self, group: Endpoints, **faults: PassingError | None) -> None:
        self.group = group
        self.faults = faults
        self.asked: list[str] = []

    async def once(self, url: str, attempt: int) -> Completion:
        self.asked.append(url)
        if fault := self.faults.get(f"at{url}"):
            raise PassingError(
                fault.kind, fault.message, load=fault.load, unreached=fault.unreached
            )
        return Completion(url, attempts=attempt)

    async def complete(self, retries: int = 3) -> Completion:
        async with self.group.window:
            return await persist(self.once, self.group, retries, Secrets())


@in_loop
async def test_repeated_elsewhere_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails at one endpoint is answered by the next, without a pause or a retry."""
    paused: list[float] = []

    async def pause(self: AdaptiveWindow, seconds: float) -> None:
        paused.append(seconds)

    monkeypatch.setattr(AdaptiveWindow, "repeat_after", pause)
    for fault in (REFUSED, RESET, BROKEN, BUSY):
        fleet = Fleet(several(3), at0=fault, at1=fault)
        done = await fleet.complete(retries=0)
        assert (done.text, done.attempts, fleet.asked) == ("2", 3, ["0", "1", "2"])
    assert paused == []


@in_loop
async def test_each_endpoint_once_in_a_round() -> None:
    """Where all refuse, a call pauses between rounds: retries + 1 calls at each, then an error."""
    fleet = Fleet(several(3), at0=BUSY, at1=BUSY, at2=BUSY)
    with pytest.raises(EngineError) as caught:
        await fleet.complete(retries=2)
    assert (caught.value.kind, caught.value.attempts) == ("http_429", 9)
    assert sorted(fleet.asked) == sorted("012" * 3)


@in_loop
async def test_budgets_hold_for_all_together() -> None:
    """Six thousand calls a minute stay that, however many endpoints there are, repeats included."""
    window = SharedWindow(1000, rpm=6000)
    group = Endpoints(["0", "1"], window, retries=3)
    fleet = Fleet(group, at0=BROKEN)
    began = time.monotonic()
    await asyncio.gather(*(fleet.complete() for _ in range(150)))
    assert time.monotonic() - began >= (len(fleet.asked) - 100) / 100 - 0.1
    assert len(fleet.asked) > 150


@pytest.mark.parametrize("count", [1, 3])
def test_an_outage_is_waited_for(count: int) -> None:
    """When nothing answers, calls wait, one trial at a time, and all are answered afterwards."""

    async def main() -> None:
        group = several(count, 8, patience=30)
        fleet = Fleet(group)
        await fleet.complete()
        fleet.faults = {f"at{n}": REFUSED for n in range(count)}
        calls = [asyncio.create_task(fleet.complete(retries=0)) for _ in range(20)]
        await asyncio.sleep(0.3)
        assert group.out and not any(call.done() for call in calls)
        assert len(fleet.asked) < 50
        fleet.faults = {}
        done = await asyncio.wait_for(asyncio.gather(*calls), 5)
        assert len(done) == 20 and not group.out
        assert [each.window._active for each in group.every] == [0] * count

    asyncio.run(main())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("fault", [REFUSED, PassingError("http_502", "Bad Gateway")])
def test_an_outage_ends_the_run(count: int, fault: PassingError) -> None:
    """After the seconds that it is given, every call that waits gets a StoppedError, and no record
    has failed.
    """

    async def main() -> None:
        fleet = Fleet(several(count, 8, patience=0.4))
        await fleet.complete()
        fleet.faults = {f"at{n}": fault for n in range(count)}
        began = time.monotonic()
        calls = (fleet.complete(retries=5) for _ in range(20))
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert 0.3 < time.monotonic() - began < 3
        assert {type(each) for each in done} == {StoppedError}
        assert "no endpoint has answered for 0.4 s" in str(done[0])

    asyncio.run(main())


@in_loop
async def test_what_kills_a_server_is_a_failed_record() -> None:
    """A call that breaks the connection each time is given up after its retries."""
    group = several(1)
    fleet = Fleet(group)
    await fleet.complete()
    fleet.faults = {"at0": RESET}
    with pytest.raises(EngineError) as caught:
        await fleet.complete(retries=2)
    assert (caught.value.kind, caught.value.attempts) == ("connection", 3)


@in_loop
async def test_a_stopped_run_turns_back_those_that_wait() -> None:
    """`halt` ends the wait of an outage at once, with an error that leaves the record owed."""
    group = several(2, 8, patience=30)
    fleet = Fleet(group)
    await fleet.complete()
    fleet.faults = {"at0": REFUSED, "at1": REFUSED}
    calls = [asyncio.create_task(fleet.complete()) for _ in range(6)]
    await asyncio.sleep(0.05)
    group.halt()
    done = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert {getattr(each, "kind", "") for each in done} == {"halted"}


# -- over HTTP -----------------------------------------------------------------------------------


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield f"http://127.0.0.1:{port}/v1"


def engine_at(*urls: str, **keys: Any) -> OpenAIEngine:
    engine = endpoint(list(urls), **keys)  # type: ignore[arg-type]
    assert isinstance(engine, OpenAIEngine)
    return engine


def test_all_are_used() -> None:
    """Calls are spread evenly over endpoints that are equally fast."""
    with running(Behaviour(latency=0.01)) as one, running(Behaviour(latency=0.01)) as other:
        engine = engine_at(one.base_url, other.base_url, max_in_flight=8)
        answers(engine, *(request(str(n)) for n in range(200)))
        assert abs(one.stats.calls - other.stats.calls) < 40
        assert one.stats.max_in_flight <= 4 and other.stats.max_in_flight <= 4


def test_the_faster_one_gets_more() -> None:
    """Each has its own window, so that a slow endpoint holds back nobody."""
    with running(Behaviour(latency=0.2)) as slow, running(Behaviour(latency=0.01)) as fast:
        engine = engine_at(slow.base_url, fast.base_url, max_in_flight=8)
        answers(engine, *(request(str(n)) for n in range(100)))
        assert fast.stats.calls > 3 * slow.stats.calls


def test_a_dead_one_costs_each_call_nothing(nobody: str) -> None:
    """No call waits for the endpoint that is not there, and it is tried but now and then."""
    with running() as mock:
        engine = engine_at(nobody, mock.base_url, max_in_flight=8, retries=0)
        found = answers(engine, *(request(str(n)) for n in range(300)))
    assert len(found) == 300
    assert sum(each.attempts for each in found) < 330


def test_one_that_does_not_know_the_model() -> None:
    """Its 404 sends each call elsewhere and soon leaves it out, however fast it says so; where none
    knows the model, the record fails with that.
    """
    missing = canned.reply("no such model", status="404 Not Found")
    with canned.server(missing) as wrong, running(Behaviour(latency=0.02)) as right:
        engine = engine_at(wrong.url, right.base_url, max_in_flight=4)
        found = answers(engine, *(request(str(n)) for n in range(60)))
        assert len(found) == 60 and len(wrong.calls) < 30
        error = failure(engine_at(wrong.url, f"{wrong.url}/v2"), request("hi"))
    assert isinstance(error, EngineError) and (error.kind, error.attempts) == ("http_404", 2)


def test_nobody_at_the_start(nobody: str) -> None:
    """Where no endpoint has ever answered, the run stops after the retries."""
    error = failure(engine_at(nobody, nobody.replace("127.0.0.1", "localhost"), retries=2),
                    request("hi"))  # fmt: skip
    assert isinstance(error, StoppedError)
    assert "no endpoint has answered yet" in str(error)


def test_one_that_goes_away_for_good() -> None:
    """A single server that is gone ends the run, resumable, and fails nothing."""

    async def main(engine: OpenAIEngine, leave: Callable[[], None]) -> Any:
        await engine.start()
        async with engine.window:
            await engine.complete(request("first"))
        leave()
        try:
            async with engine.window:
                return await engine.complete(request("second"))
        except StoppedError as error:
            return error
        finally:
            await engine.close()

    with contextlib.ExitStack() as stack:
        mock = stack.enter_context(running())
        engine = engine_at(mock.base_url, retries=1, timeout=0.5, args={"outage": 0.3})
        error = asyncio.run(main(engine, stack.close))
    assert "no endpoint has answered for 0.3 s" in str(error)
    assert "run again" in str(error)


def test_a_gateway_without_its_server() -> None:
    """A proxy that answers 502 while its server restarts is waited for, not failed at."""
    down = canned.reply("", status="502 Bad Gateway")
    with canned.server(canned.reply("first"), *[down] * 12, canned.reply("last")) as server:
        found = answers(endpoint(server.url, max_in_flight=1), request("a"), request("b"))
    assert [each.text for each in found] == ["first", "last"]
    assert len(server.calls) == 14


@pytest.mark.parametrize("outage", [0, -1, "long", None, True])
def test_how_long_an_outage_may_be(outage: Any) -> None:
    """Seconds, above 0; anything else is a mistake with its path."""
    with pytest.raises(ConfigError, match=r"engine\.args\.outage"):
        engine_at("http://127.0.0.1:9/v1", args={"outage": outage})


def test_an_address_given_twice_counts_once() -> None:
    """Twice the same server is one endpoint, with one window."""
    engine = engine_at("http://a/v1", "http://a/v1/", "http://b/v1")
    assert [each.url for each in engine.endpoints.every] == [
        "http://a/v1/chat/completions",
        "http://b/v1/chat/completions",
    ]
    assert isinstance(engine.endpoints.every[0], Endpoint)


# -- whatever happens ------------------------------------------------------------------------------

FAULTS = [REFUSED, RESET, BROKEN, BUSY, PassingError("timeout", "slow")]
FAULTS += [PassingError("http_503", "full", load=True, retry_after=2)]


@given(
    st.integers(1, 4),
    st.integers(1, 9),
    st.lists(
        st.tuples(st.integers(0, 99), st.sampled_from(["take", "answer", "wait", *FAULTS])),
        max_size=60,
    ),
)
def test_turns_always_add_up(count: int, limit: int, events: list[tuple[int, Any]]) -> None:
    """Calls come, are answered and fail in any order: no endpoint gets more than its width, one
    that is down at most one trial, and in the end nothing is left.
    """
    clock = Clock()
    group = Endpoints([str(n) for n in range(count)], AdaptiveWindow(limit), retries=9, clock=clock)
    for each in group.every:
        each.window._clock = clock
    out: list[Turn] = []
    for number, event in events:
        clock.now += 0.01
        if event == "wait":
            clock.now += number / 10
        elif event == "take":
            before = {each: each.window.busy for each in group.every}
            if (turn := group.take()) is not None:
                assert turn.endpoint.up is not turn.on_trial
                assert count == 1 or turn.on_trial or before[turn.endpoint] < 1
                assert not turn.on_trial or not any(t.on_trial for t in out if t is not turn
                                                    and t.endpoint is turn.endpoint)  # fmt: skip
                out.append(turn)
            elif count > 1:
                busy = [each.window.busy >= 1 for each in group.every if each.up]
                assert all(busy)
        elif out:
            turn = out.pop(number % len(out))
            if event == "answer":
                group.answered(turn, 7)
                assert turn.endpoint.up
            else:
                group.failed(turn, event, clock.now - 0.005)
        up = [each for each in group.every if each.up]
        assert group.out is not bool(up)
        if count > 1:
            assert sum(each.window.limit for each in up) <= max(limit, count) + 1e-9
            for each in group.every:
                assert each.window._active == sum(turn.endpoint is each for turn in out)
    for turn in out:
        group.give_back(turn)
    assert not any(each.on_trial for each in group.every)
    assert count == 1 or all(each.window._active == 0 for each in group.every)
