"""Repeating a call until it succeeds, or until it is clear that it will not.

Exponential backoff with full jitter: https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from mirage.engines.http import MAX_RAW, PassingError, Secrets
from mirage.engines.window import AdaptiveWindow
from mirage.errors import EngineError
from mirage.record import Completion

FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0


def backoff(attempt: int) -> float:
    """Seconds to wait after so many failed attempts."""
    return random.uniform(0.0, min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(attempt - 1, 30)))


async def persist(
    once: Callable[[int], Awaitable[Completion]],
    window: AdaptiveWindow,
    retries: int,
    secrets: Secrets,
) -> Completion:
    """Call `once(attempt)` until it answers, at most `retries` times more.

    A fault that passes is waited for outside the window's turns, so that a timeout never counts
    the wait; what remains in the end is an EngineError with the number of attempts.
    """
    attempt = 1
    while True:
        sent = window.now()
        try:
            completion = await once(attempt)
        except PassingError as exc:
            fault = exc
        except EngineError as exc:
            exc.attempts = attempt
            raise
        else:
            window.answered(completion.prompt_tokens + completion.completion_tokens)
            return completion
        if fault.load:
            window.throttled(sent, fault.retry_after)
        if attempt > retries:
            raw = None if fault.raw is None else secrets.redact(fault.raw, MAX_RAW)
            raise EngineError(fault.kind, fault.message, raw=raw, attempts=attempt)
        await window.repeat_after(backoff(attempt))
        attempt += 1
