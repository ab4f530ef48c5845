"""The endpoints that serve one model: which one takes the next call, and which are left out.

Each of several endpoints has a window of its own, which begins at its share of `max_in_flight`. A
call goes to the one that is least busy among those with room. An endpoint that is down is left out
and the others take over its share; after a rest it gets one call on trial. A single endpoint needs
no window besides the engine's own.

An endpoint goes down when no connection can be made, or after FAULTS faults with no answer between
them; the last one that is up only goes down for lost connections. While all are down, calls wait.
That is an outage, and after `patience` seconds it stops the run; before the first answer of all,
after `retries` trials.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

from mirage.engines.http import PassingError
from mirage.engines.window import AdaptiveWindow
from mirage.errors import HALTED, EngineError, StoppedError

FAULTS = 5
FIRST_REST, LONGEST_REST = 0.5, 15.0
PATIENCE = 300.0
NOT_HERE = "http_404"
LOST = frozenset({"connection", "http_502", "http_503"})
"""Nothing answers; a gateway that says so for its server is as good as a lost connection."""


class Endpoint(Struct, eq=False):
    """One of the URLs. `faults` counts those since its last answer, `trials` those that failed
    since it went down; `rests_until` is a time of the clock.
    """

    url: str
    window: AdaptiveWindow
    up: bool = True
    on_trial: bool = False
    faults: int = 0
    trials: int = 0
    rests_until: float = 0.0


class Turn(Struct, eq=False):
    """Leave to make one call at an endpoint; `on_trial` where the endpoint is down."""

    endpoint: Endpoint
    on_trial: bool = False


class SharedWindow(AdaptiveWindow):
    """The engine's window over several endpoints: as wide as these are together."""

    endpoints: Endpoints

    @property
    def size(self) -> int:
        return self.endpoints.size


class Endpoints:
    """`window` is the engine's: it bounds all calls together, and keeps its `rpm` and `tpm`.

    `heard` says whether any has answered yet.
    """

    def __init__(
        self,
        urls: Sequence[str],
        window: AdaptiveWindow,
        *,
        retries: int,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.window = window
        self.heard = False
        self.several = len(urls) > 1
        self.every = [Endpoint(url, window) for url in urls]
        self._turns = [Turn(endpoint) for endpoint in self.every]
        self._only = None if self.several else self._turns[0]
        self._retries = retries
        self._patience = patience
        self._clock = clock
        self._line: deque[tuple[asyncio.Future[Turn], Collection[Endpoint]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = 0.0
        self._out_since: float | None = None
        self._end: Exception | None = None
        self._last = ""
        if self.several:
            for each in self.every:
                each.window = AdaptiveWindow(window.limit, clock=clock)
            self.share()
        if isinstance(window, SharedWindow):
            window.endpoints = self

    @property
    def out(self) -> bool:
        """Whether all are down."""
        return self._out_since is not None

    @property
    def trouble(self) -> str:
        """What is wrong while all are down; empty otherwise."""
        return f"no endpoint answers ({self._last})" if self.out else ""

    @property
    def size(self) -> int:
        """How many calls may be under way at once, as things are."""
        return min(int(self.window.limit), sum(e.window.size for e in self.every if e.up))

    # -- a call's way ----------------------------------------------------------------------------

    def take(self, tried: Collection[Endpoint] = ()) -> Turn | None:
        """A turn, which must be given back, but not at those that the call has tried; None where it
        has to wait for one.
        """
        if (only := self._only) is not None and only.endpoint.up:
            return only
        return None if self._line else self._choose(tried)

    async def wait(self, avoided: Collection[Endpoint] = ()) -> Turn:
        """A turn, as soon as there is one; at those to avoid only where no others are up. Raises
        StoppedError after an outage.
        """
        if self._end is not None:
            raise self._end
        ahead: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self._line.append((ahead, avoided))
        self._serve()
        try:
            return await ahead
        except asyncio.CancelledError:
            if ahead.done() and not ahead.cancelled() and ahead.exception() is None:
                self.give_back(ahead.result())
            raise

    def give_back(self, turn: Turn) -> None:
        """The call has ended, however."""
        if turn.on_trial:
            turn.endpoint.on_trial = False
        if self.several:
            turn.endpoint.window.give_back()
        if self._line:
            self._serve()

    def answered(self, turn: Turn, tokens: int) -> None:
        """A call succeeded, and cost so many tokens; its turn is given back."""
        endpoint = turn.endpoint
        self.window.answered(tokens)
        if endpoint.faults or not endpoint.up or not self.heard:
            self.replied(endpoint)
        if self.several:
            endpoint.window.answered()
            self.give_back(turn)
        elif turn.on_trial or self._line:
            self.give_back(turn)

    def declined(self, turn: Turn, error: EngineError, sent: float, tried: set[Endpoint]) -> bool:
        """A call got an answer, and that is its error; its turn is given back. Whether it may go to
        another endpoint nevertheless: one of several may not know the model, or the address.
        """
        if error.kind != NOT_HERE or not self.several:
            self.replied(turn.endpoint)
            self.give_back(turn)
            return False
        self.failed(turn, PassingError(error.kind, error.message), sent)
        return self.another(turn.endpoint, tried)

    def replied(self, endpoint: Endpoint) -> None:
        """It is there, whatever it says."""
        self.heard = True
        endpoint.faults = 0
        if not endpoint.up:
            endpoint.up, self._out_since = True, None
            self.share()

    def failed(self, turn: Turn, fault: PassingError, sent: float) -> bool:
        """A call that was sent at the clock's time `sent` failed; its turn is given back. Whether
        that counts against it: a trial that fails, and a connection that was never made, say
        nothing about the call.
        """
        try:
            return self._judge(turn, fault, sent)
        finally:
            self.give_back(turn)

    def _judge(self, turn: Turn, fault: PassingError, sent: float) -> bool:
        endpoint, lost = turn.endpoint, fault.kind in LOST
        self.heard = self.heard or not lost
        if fault.load:
            endpoint.window.throttled(sent, fault.retry_after)
        if fault.kind == "http_429":
            self.replied(endpoint)
        elif endpoint.up:
            endpoint.faults += FAULTS if fault.unreached else 1
            if endpoint.faults >= FAULTS and (lost or self._others_up(endpoint)):
                endpoint.up, endpoint.trials = False, 0
                self.share()
                self._rest(endpoint, fault)
        elif turn.on_trial and (lost or self.several):
            endpoint.trials += 1
            self._rest(endpoint, fault)
            return False
        elif turn.on_trial:
            self.replied(endpoint)
        return not fault.unreached

    def another(self, endpoint: Endpoint, tried: set[Endpoint]) -> bool:
        """Whether a call that failed at `endpoint` may go to another one at once; notes it."""
        if not self.several or endpoint in tried:
            return False
        tried.add(endpoint)
        return any(each.up and each not in tried for each in self.every)

    def halt(self) -> None:
        """Turn back the calls that wait, and those that would."""
        self._give_up(EngineError(HALTED, "the run was stopped before this call"))

    # -- choosing --------------------------------------------------------------------------------

    def _choose(self, tried: Collection[Endpoint]) -> Turn | None:
        """The trial of one that has rested; or the least busy of those with room; None where there
        is neither.
        """
        best: Turn | None = None
        least = 1.0
        for turn in self._turns:
            endpoint = turn.endpoint
            if endpoint.up:
                busy = endpoint.window.busy
                if busy < least and endpoint not in tried:
                    best, least = turn, busy
            elif not endpoint.on_trial and self._clock() >= endpoint.rests_until:
                endpoint.on_trial = True
                best = Turn(endpoint, on_trial=True)
                break
        if best is not None and self.several:
            best.endpoint.window.take()
        return best

    def _serve(self) -> None:
        """Give the calls that wait, in order, what there is for them."""
        passed_over = 0
        while passed_over < len(self._line):
            ahead, avoided = self._line[passed_over]
            if ahead.done():
                del self._line[passed_over]
                continue
            if avoided and all(each in avoided for each in self.every if each.up):
                avoided = ()
            up = self._only is not None and self._only.endpoint.up
            turn = self._only if up else self._choose(avoided)
            if turn is not None:
                del self._line[passed_over]
                ahead.set_result(turn)
            elif avoided:
                passed_over += 1
            else:
                break
        if self._line:
            self._look_again()

    def _look_again(self) -> None:
        """Come back when an endpoint has rested, or takes calls again, or patience ends."""
        now = self._clock()
        times = [e.window.opens if e.up else e.rests_until for e in self.every if not e.on_trial]
        if self._out_since is not None:
            times.append(self._out_since + self._patience)
        at = min((time for time in times if time > now), default=0.0)
        if at == self._wake_at:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at:
            self._timer = asyncio.get_running_loop().call_later(at - now, self._wake)
        self._wake_at = at

    def _wake(self) -> None:
        self._timer, self._wake_at = None, 0.0
        self._check_patience()
        self._serve()

    # -- up and down -----------------------------------------------------------------------------

    def _others_up(self, endpoint: Endpoint) -> bool:
        return any(each.up for each in self.every if each is not endpoint)

    def _rest(self, endpoint: Endpoint, fault: PassingError) -> None:
        rest = min(LONGEST_REST, FIRST_REST * 2.0 ** min(endpoint.trials, 30))
        endpoint.rests_until = self._clock() + max(rest, fault.retry_after)
        self._last = fault.message
        if self._out_since is None and not any(each.up for each in self.every):
            self._out_since = self._clock()
        self._check_patience()

    def _check_patience(self) -> None:
        if self._out_since is None:
            return
        if not self.heard and all(each.trials >= self._retries for each in self.every):
            self._give_up(StoppedError(f"no endpoint has answered yet: {self._last}"))
        elif self.heard and self._clock() - self._out_since >= self._patience:
            silence = f"no endpoint has answered for {self._patience:g} s"
            self._give_up(StoppedError(f"{silence}: {self._last}; run again to go on"))

    def _give_up(self, end: Exception) -> None:
        """Whoever waits, or would, gets this error."""
        self._end = self._end or end
        for ahead, _ in self._line:
            if not ahead.done():
                ahead.set_exception(self._end)
        self._line.clear()

    def share(self) -> None:
        """Split what the engine may do among the endpoints that are up."""
        if not self.several:
            return
        up = sum(each.up for each in self.every) or len(self.every)
        for each in self.every:
            each.window.relimit(max(1.0, self.window.limit / up))
