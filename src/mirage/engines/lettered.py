"""Choices at an endpoint: which of these letters would you say?

Chat endpoints tell the log-probabilities of what the model writes, and of no other text. So every
choice gets a letter, the model is asked for one letter, and the numbers are those of the letters
where it wrote its own. A letter that is not among the TOP likeliest tokens there has none.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from msgspec.structs import replace

from mirage.engines.chat import read_completion
from mirage.errors import EngineError
from mirage.recipes import load as recipe
from mirage.record import Completion, Message, Request

LETTERS = string.ascii_uppercase
TOP = 20
BODY = {"temperature": 0.0, "max_tokens": 8, "logprobs": True, "top_logprobs": TOP}
AROUND = string.whitespace + "\"'`*_()[]{}.,:;<>#-▁Ġ"
"""What may stand beside a letter: white space as tokenizers write it, quotes and marks."""
UNTOLD = -9000.0
"""OpenAI gives -9999 where it gives no probability."""


def lettered(request: Request) -> tuple[Message, ...]:
    """The messages with the choices below the question. Raises EngineError where they are more
    than there are letters.
    """
    if len(request.choices) > len(LETTERS):
        most = f"at most {len(LETTERS)} choices can be asked for, not {len(request.choices)}"
        raise EngineError("choices", most)
    lines = "\n".join(
        f"{letter}. {choice}" for letter, choice in zip(LETTERS, request.choices, strict=False)
    )
    *before, last = request.messages
    note = recipe("structured.yaml")["choices"].replace("{choices}", lines)
    return (*before, replace(last, parts=(*last.parts, note)))


def read_choice(
    data: bytes, seconds: float, attempts: int, *, choices: Sequence[str]
) -> Completion:
    """The likeliest choice, with the log-probabilities of all.

    Raises EngineError of kind "logprobs" where the endpoint gave none, "choices" where the model
    answered with something else than a letter; otherwise what `read_completion` does.
    """
    completion = read_completion(data, seconds, attempts)
    given = orjson.loads(data)["choices"][0].get("logprobs")
    tokens = given.get("content") if isinstance(given, dict) else None
    if not isinstance(tokens, list) or not tokens:
        raise EngineError("logprobs", "the endpoint gave no log-probabilities", raw=completion.text)
    letters = LETTERS[: len(choices)]
    for token in tokens:
        name = letter_of(token)
        if len(name) == 1 and name in letters:
            told = probabilities(token)
            logprobs = tuple(told.get(letter) for letter in letters)
            best = max(letters, key=lambda letter: told.get(letter, -math.inf))
            if best in told:
                text = choices[letters.index(best)]
                return replace(completion, text=text, finish="stop", logprobs=logprobs)
        if name:
            break
    said = "the model did not answer with the letter of a choice"
    raise EngineError("choices", said, raw=completion.text)


def letter_of(token: Any) -> str:
    """What a token says, without what may stand beside it."""
    text = token.get("token") if isinstance(token, Mapping) else None
    return text.strip(AROUND) if isinstance(text, str) else "?"


def probabilities(token: Mapping[str, Any]) -> dict[str, float]:
    """The log-probability of each letter at this token: of all tokens that write it, together."""
    told: dict[str, float] = {}
    seen = set[str]()
    top = token.get("top_logprobs")
    for each in [*(top if isinstance(top, list) else ()), token]:
        logprob = each.get("logprob") if isinstance(each, Mapping) else None
        if isinstance(logprob, bool) or not isinstance(logprob, int | float):
            continue
        if not logprob > UNTOLD:
            continue
        if not isinstance(text := each.get("token"), str) or text in seen:
            continue  # the token that was written is among the likeliest as a rule
        seen.add(text)
        letter = letter_of(each)
        if len(letter) == 1:
            told[letter] = together(told.get(letter), min(float(logprob), 0.0))
    return told


def together(one: float | None, other: float) -> float:
    """The logarithm of the sum of two probabilities."""
    if one is None:
        return other
    high, low = max(one, other), min(one, other)
    return min(0.0, high + math.log1p(math.exp(low - high)))
