"""Repeating a call until it succeeds, or until it is clear that it will not.

Exponential backoff with full jitter: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection

from mirage.engines.endpoints import Endpoint, Endpoints
from mirage.engines.http import MAX_RAW, PassingError, Secrets
from mirage.errors import EngineError
from mirage.record import Completion

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0


def backoff(attempt: int) -> float:
    """Seconds to wait after so many failed attempts."""
    return random.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 30)))


async def persist(
    once: Callable[[str, int], Awaitable[Completion]],
    endpoints: Endpoints,
    retries: int,
    secrets: Secrets,
) -> Completion:
    """Call `once(url, attempt)` until an endpoint answers.

    A call that failed at one endpoint goes to another at once; where all have been tried, it waits
    outside the window's turns, so that a timeout never counts the wait, and that `retries` times.
    What remains in the end is an EngineError with the number of attempts; StoppedError where no
    endpoint answers at all.
    """
    window = endpoints.window
    tried: set[Endpoint] = set()
    avoided: Collection[Endpoint] = ()
    attempt = rounds = 1
    while True:
        turn = endpoints.take(tried) or await endpoints.wait(avoided)
        sent = window.now()
        try:
            completion = await once(turn.endpoint.url, attempt)
        except PassingError as exc:
            fault = exc
            counts = endpoints.failed(turn, fault, sent)
        except EngineError as exc:
            exc.attempts = attempt
            if not endpoints.declined(turn, exc, sent, tried):
                raise
            attempt, avoided = attempt + 1, tried
            continue
        except BaseException:
            endpoints.give_back(turn)
            raise
        else:
            endpoints.answered(turn, completion.prompt_tokens + completion.completion_tokens)
            return completion
        attempt, avoided = attempt + 1, () if fault.load else tried
        if not counts:
            continue
        if endpoints.another(turn.endpoint, tried):
            if window.paced:
                await window.repeat_after(0.0)
            continue
        if rounds > retries and endpoints.heard and not endpoints.out:
            raw = None if fault.raw is None else secrets.redact(fault.raw, MAX_RAW)
            raise EngineError(fault.kind, fault.message, raw=raw, attempts=attempt - 1)
        if not endpoints.out:
            await window.repeat_after(backoff(rounds))
        rounds += 1
        tried.clear()
