"""How many calls may be under way at once."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any

from mirage.engines.window import AdaptiveWindow


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def turns(rounds: int = 5) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


def in_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    return run


@in_loop
async def test_never_more_than_the_limit() -> None:
    """At most `limit` calls are inside, and all come through."""
    window, inside, most = AdaptiveWindow(3), 0, 0

    async def call() -> None:
        nonlocal inside, most
        async with window:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(call() for _ in range(20)))
    assert (most, window.held) == (3, 0)


@in_loop
async def test_first_come_first_served() -> None:
    """Calls enter in the order in which they came."""
    window, order = AdaptiveWindow(1), list[int]()

    async def call(number: int) -> None:
        async with window:
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(call(n) for n in range(10)))
    assert order == list(range(10))


@in_loop
async def test_one_cut_per_burst() -> None:
    """Refusals of calls that were sent before the last cut do not cut again."""
    clock = Clock()
    window = AdaptiveWindow(64, clock=clock)
    sent = clock.now
    clock.now += 1
    for _ in range(30):
        window.throttled(sent)
    assert window.size == 32
    sent = clock.now + 0.5
    clock.now += 1
    window.throttled(sent)
    assert window.size == 16


@in_loop
async def test_never_below_one_and_back_to_the_limit() -> None:
    """However often it is cut, one call may go on, and answers widen it up to where it began."""
    clock = Clock()
    window = AdaptiveWindow(8, clock=clock)
    for _ in range(20):
        clock.now += 1
        window.throttled(clock.now)
    assert window.size == 1
    for _ in range(500):
        window.answered()
    assert window.size == 8


@in_loop
async def test_recovery_is_gradual() -> None:
    """One round of answers gives back one step of sixteen, not everything."""
    clock = Clock()
    window = AdaptiveWindow(64, clock=clock)
    window.throttled(clock.now)
    for _ in range(32):
        window.answered()
    assert 35 <= window.size <= 36


@in_loop
async def test_retry_after_stops_all_admissions() -> None:
    """Nobody enters before the time that the server named, and then everyone does."""
    window = AdaptiveWindow(4)
    window.throttled(time.monotonic() - 1, retry_after=0.1)
    began = time.monotonic()
    for _ in range(2):
        async with window:
            pass
    assert 0.09 <= time.monotonic() - began < 1


@in_loop
async def test_a_waiting_repeat_leaves_its_turn_but_not_its_place() -> None:
    """While one call waits to be repeated another may run, but no more are held than the limit."""
    window, log = AdaptiveWindow(2), list[str]()

    async def repeating() -> None:
        async with window:
            log.append("first try")
            await window.repeat_after(0.02)
            log.append("second try")

    async def other(name: str) -> None:
        async with window:
            log.append(name)
            assert window.held <= 2
            await asyncio.sleep(0.03)

    await asyncio.gather(repeating(), other("a"), other("b"), other("c"))
    assert window.held == 0
    assert log.index("second try") < log.index("c")


@in_loop
async def test_a_narrow_window_bounds_repeats_too() -> None:
    """After a cut to 1, eight refused calls are repeated one at a time."""
    clock = Clock()
    window, running, most = AdaptiveWindow(8, clock=clock), 0, 0

    async def call() -> None:
        nonlocal running, most
        async with window:
            clock.now += 1
            window.throttled(clock.now)
            await window.repeat_after(0.005)
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.002)
            running -= 1

    await asyncio.gather(*(call() for _ in range(8)))
    assert (window.size, most, window.held) == (1, 1, 0)


@in_loop
async def test_cancelled_waiters_lose_nothing() -> None:
    """Waiting arrivals and repeats may be cancelled at any point; the window stays whole."""
    window = AdaptiveWindow(2)

    async def call() -> None:
        async with window:
            await window.repeat_after(0.001)
            await asyncio.sleep(0.001)

    for delay in range(12):
        tasks = [asyncio.create_task(call()) for _ in range(8)]
        await turns(delay)
        if delay % 3 == 0:
            await asyncio.sleep(0.0012)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert (window.held, window._active) == (0, 0)
    assert not window._arrivals and not window._repeats


@in_loop
async def test_requests_per_minute() -> None:
    """With 6,000 calls a minute, 150 calls take half a second: one second's worth is free."""
    window = AdaptiveWindow(1000, rpm=6000)

    async def call() -> None:
        async with window:
            pass

    began = time.monotonic()
    await asyncio.gather(*(call() for _ in range(150)))
    assert 0.4 <= time.monotonic() - began < 2


@in_loop
async def test_tokens_per_minute() -> None:
    """Tokens that were spent hold back the calls after them."""
    window = AdaptiveWindow(10, tpm=60_000)
    window.answered(tokens=1200)
    began = time.monotonic()
    async with window:
        pass
    assert 0.15 <= time.monotonic() - began < 2


@in_loop
async def test_cheap_where_nobody_waits() -> None:
    """Entering and leaving takes about a microsecond."""
    window = AdaptiveWindow(64)
    best = 1.0
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(2000):
            async with window:
                pass
        best = min(best, (time.perf_counter() - began) / 2000)
    assert best < 5e-6
