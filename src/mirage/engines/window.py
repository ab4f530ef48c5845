"""The adaptive window: how many calls may be under way at once, and what happens when that is
too many.

It is additive increase, multiplicative decrease, as in TCP: a 429 or 503 cuts the window once per
burst, answers let it grow back, and a Retry-After stops all admissions for as long as it says. A
call that waits to be repeated keeps its place among the calls held, so memory stays bounded, but
gives up its turn, so that a window of 8 means 8 calls on the wire.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType

CUT = 0.5
ROUNDS_TO_RECOVER = 16


class AdaptiveWindow:
    """An async context manager, entered in the order of arrival.

    `limit` is where the window starts and the most that it ever grows to. `rpm` and `tpm` are
    requests and tokens per minute: calls are spread evenly, and one second's worth may come at
    once. `size` is the present width; `held` counts the calls inside, waiting repeats included;
    before the clock's time `opens` nobody is let in.
    """

    def __init__(
        self,
        limit: float,
        *,
        rpm: int | None = None,
        tpm: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit: float = limit
        self.held = 0
        self._size = float(limit)
        self._active = 0
        self._step = max(1.0, limit / ROUNDS_TO_RECOVER)
        self._clock = clock
        self._arrivals: deque[asyncio.Future[None]] = deque()
        self._repeats: deque[asyncio.Future[None]] = deque()
        self.opens = 0.0
        self._last_cut = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._per_call = 60 / rpm if rpm else 0.0
        self._per_token = 60 / tpm if tpm else 0.0
        self._calls_until = self._tokens_until = 0.0

    @property
    def size(self) -> int:
        return max(1, int(self._size))

    async def __aenter__(self) -> None:
        if (
            self._active >= int(self._size)
            or self.held >= self.limit
            or self._arrivals
            or self._repeats
            or self.opens
            or self._per_call
            or self._per_token
        ):
            await self._queue(self._arrivals)
        else:
            self._active += 1
            self.held += 1

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        exc: BaseException | None = None,
        tb: TracebackType | None = None,
    ) -> None:
        self.held -= 1
        self._active -= 1
        if self._repeats or self._arrivals:
            self._admit()

    async def repeat_after(self, seconds: float) -> None:
        """Give up the turn for so long, then wait for a new one, before all new arrivals."""
        self._active -= 1
        self._admit()
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self._active += 1
            raise
        await self._queue(self._repeats)

    def answered(self, tokens: int = 0) -> None:
        """A call succeeded: the window grows by its share of one step per round."""
        if self._size < self.limit:
            self._size = min(self.limit, self._size + self._step / self._size)
        if self._per_token and tokens:
            self._tokens_until = max(self._clock(), self._tokens_until) + tokens * self._per_token

    def throttled(self, sent: float, retry_after: float = 0.0) -> None:
        """A call that was sent at the clock's time `sent` was refused for load.

        Calls sent before the last cut say nothing new: one burst costs one cut.
        """
        now = self._clock()
        if sent > self._last_cut:
            self._last_cut = now
            self._size = max(1.0, self._size * CUT)
        if retry_after:
            self.opens = max(self.opens, now + retry_after)

    def now(self) -> float:
        return self._clock()

    @property
    def paced(self) -> bool:
        """Whether there is a budget of calls or tokens."""
        return bool(self._per_call or self._per_token)

    # -- one of several, whose owner decides who enters --------------------------------------------

    @property
    def busy(self) -> float:
        """The share of the width that is taken; 1 or more where nobody may enter."""
        if self.opens and self._clock() < self.opens:
            return 1.0
        return self._active / max(1, int(self._size))

    def take(self) -> None:
        """Enter, without asking."""
        self._active += 1

    def give_back(self) -> None:
        self._active -= 1

    def relimit(self, limit: float) -> None:
        """Another limit: a window at its full width stays at its full width."""
        full = self._size >= self.limit
        self.limit = limit
        self._step = max(1.0, limit / ROUNDS_TO_RECOVER)
        self._size = limit if full else min(self._size, limit)

    async def _queue(self, line: deque[asyncio.Future[None]]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            admitted = not turn.cancelled()
            if line is self._repeats:  # the caller leaves through __aexit__, which gives up a turn
                self._active += not admitted
            elif admitted:
                self._active -= 1
                self.held -= 1
            if not admitted and turn in line:
                line.remove(turn)
            self._admit()
            raise

    def _admit(self) -> None:
        """Let in whoever may come in now: repeats first, then arrivals, each in order."""
        size = max(1, int(self._size))
        while self._active < size:
            if self._repeats:
                line = self._repeats
            elif self._arrivals and self.held < self.limit:
                line = self._arrivals
            else:
                return
            if line[0].cancelled():
                line.popleft()
                continue
            if self._must_wait():
                return
            line.popleft().set_result(None)
            self._active += 1
            self.held += line is self._arrivals

    def _must_wait(self) -> bool:
        """Whether admissions are paused; a timer then takes them up again."""
        if not (self.opens or self._per_call or self._per_token):
            return False
        now = self._clock()
        wait = max(self.opens, self._calls_until - 1.0, self._tokens_until - 1.0) - now
        if wait > 0:
            if self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(wait, self._reopen)
            return True
        self.opens = 0.0
        if self._per_call:
            self._calls_until = max(now, self._calls_until) + self._per_call
        return False

    def _reopen(self) -> None:
        self._timer = None
        self._admit()
