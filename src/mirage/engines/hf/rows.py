"""Sequences that are generated together: how each row's next token is chosen, and when it ends.

`generate()` is called greedily, and what a row wants is done to the logits: the schema's tokens
alone are left, a draw is made with the row's own random numbers, or a given token is forced, whose
probability is noted. So rows of any kind stand in one batch, and a row draws the same numbers
whoever its neighbours are.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import llguidance.numpy
import torch
from msgspec import Struct, field

from mirage.engines.hf.config import Asked
from mirage.errors import EngineError

NEVER = float("-inf")


class Row(Struct, eq=False):
    """One sequence. `ids` is its prompt, `extras` what its pictures became; `ends` are the tokens
    that end it. `matcher` makes a fresh matcher of its schema; `forced` are the tokens that it is
    made to write, where the question is how likely they are.

    `written`, `finish`, `logprob` and `fault` are what came of it.
    """

    ids: Sequence[int]
    asked: Asked
    ends: frozenset[int]
    extras: Mapping[str, torch.Tensor] = {}
    matcher: Callable[[], Any] | None = None
    forced: Sequence[int] = ()
    timeout: float = 0.0

    written: list[int] = []
    finish: str = ""
    logprob: float = 0.0
    fault: EngineError | None = None
    unwanted: bool = False
    state: Any = None
    _random: random.Random = field(default_factory=random.Random)
    _deadline: float = 0.0

    @property
    def drawn(self) -> bool:
        return self.asked.seed is not None and not self.forced

    @property
    def done(self) -> bool:
        return bool(self.finish) or self.unwanted or self.fault is not None

    def begin(self) -> None:
        """From the prompt's end, as if nothing had been written yet."""
        self.written, self.finish, self.logprob, self.fault = [], "", 0.0, None
        self.state = None if self.matcher is None else self.matcher()
        self._random = random.Random(self.asked.seed)
        self._deadline = time.monotonic() + self.timeout if self.timeout else float("inf")

    def number(self) -> float:
        """The row's next random number, in [0, 1)."""
        return self._random.random()

    def take(self, token: int) -> None:
        """The next token has been chosen."""
        if token in self.ends and not self.forced:
            self.finish = "stop"
            return
        self.written.append(token)
        if self.state is not None:
            self._match(token)
        if self.done:
            return
        if len(self.written) >= (len(self.forced) or self.asked.limit):
            self.finish = "length"
        elif time.monotonic() > self._deadline:
            message = f"no answer within {self.timeout:g} s"
            self.fault = EngineError("timeout", message, attempts=1)

    def _match(self, token: int) -> None:
        self.state.consume_token(token)
        if self.state.is_error():
            self.fault = EngineError("schema", self.state.get_error(), attempts=1)
        elif self.state.is_stopped():
            self.finish = "stop"


class Chooser:
    """Called with the logits of all rows, before the likeliest token of each is taken."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        living = [(i, row) for i, row in enumerate(self._rows) if not row.done]
        bound = [(i, row) for i, row in living if row.state is not None]
        drawn = [(i, row) for i, row in living if row.drawn]
        forced = [(i, row) for i, row in living if row.forced]
        if bound:
            allow(scores, [i for i, _ in bound], [row.state for _, row in bound])
        if drawn:
            tokens = draw(scores[[i for i, _ in drawn]], [row for _, row in drawn])
            _only(scores, [i for i, _ in drawn], tokens)
        if forced:
            places = [i for i, _ in forced]
            wanted = [row.forced[len(row.written)] for _, row in forced]
            tokens = torch.tensor(wanted, device=scores.device)
            logprobs = scores[places].float().log_softmax(-1).gather(1, tokens[:, None])
            for (_, row), logprob in zip(forced, logprobs[:, 0].tolist(), strict=True):
                row.logprob += logprob
            _only(scores, places, tokens)
        return scores


class Ender:
    """Called after each step: tells every row its token, and says which rows are done."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        for row, token in zip(self._rows, ids[:, -1].tolist(), strict=True):
            if not row.done:
                row.take(token)
        return torch.tensor([row.done for row in self._rows], device=ids.device)


def allow(scores: torch.Tensor, places: list[int], states: Sequence[Any]) -> None:
    """Leave only what each row's schema allows next. A vocabulary has 32 tokens to a word."""
    size = scores.shape[1]
    words = llguidance.numpy.allocate_token_bitmask(len(places), size)
    for i, state in enumerate(states):
        llguidance.numpy.fill_next_token_bitmask(state, words, i)
    mask = torch.from_numpy(words).to(scores.device)
    bits = (mask[:, :, None] >> torch.arange(32, device=scores.device, dtype=torch.int32)) & 1
    scores[places] = scores[places].masked_fill(bits.flatten(1)[:, :size] == 0, NEVER)


def draw(scores: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """One token per row: temperature, then top-k and top-p, then the row's own random number.

    The number is a place on the probabilities laid end to end, the likeliest first.
    """
    device = scores.device

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, device=device)[:, None]

    warmth = column([row.asked.temperature for row in rows])
    logits, order = (scores.float() / warmth).sort(descending=True, stable=True)
    probs = logits.softmax(-1)
    before = probs.cumsum(-1) - probs
    rank = torch.arange(scores.shape[1], device=device)
    top_k = column([float(row.asked.top_k or scores.shape[1]) for row in rows])
    kept = (before < column([row.asked.top_p for row in rows])) & (rank < top_k) & (probs > 0)
    kept[:, 0] = True
    heaps = (probs * kept).cumsum(-1)
    point = column([row.number() for row in rows]) * heaps[:, -1:]
    index = (heaps <= point).sum(-1).clamp(max=scores.shape[1] - 1)
    last = (kept * (rank + 1)).amax(-1) - 1
    return order.gather(1, torch.minimum(index, last)[:, None])[:, 0]


def _only(scores: torch.Tensor, places: list[int], tokens: torch.Tensor) -> None:
    scores[places] = NEVER
    scores[places, tokens] = 0.0
