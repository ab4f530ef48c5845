"""Choices of the embedded engine: exact, whatever they hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from mirage.errors import EngineError
from mirage.record import Completion, Engine, Request

from ..asking import answers, ask, picture, request

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

from .test_engine import models, opened, png

__all__ = ["models", "opened"]

Opened = Callable[..., Engine]


def choosing(*choices: str, question: str = "Which one?") -> Request:
    return replace(request(question), choices=choices)


async def stepwise(engine: Any, question: str, choice: str) -> float:
    """The same number the long way: the whole distribution, once for every token."""
    await engine.start()
    server = partial(engine._connection, 60)

    def post(path: str, **body: Any) -> Any:
        return server().post(path, orjson.dumps(body))

    prompt, _ = engine._prompts.build(server(), request(question).messages)
    prompt = post("/tokenize", content=prompt, parse_special=True, add_special=True)["tokens"]
    tokens = post("/tokenize", content=choice, parse_special=False, add_special=False)["tokens"]
    total = 0.0
    for number, token in enumerate(tokens):
        before = prompt + tokens[:number]
        reply = post("/completion", prompt=before, n_predict=1, n_probs=100_000, temperature=0.0)
        if not (told := reply.get("completion_probabilities")):  # it began with half a letter
            reply = post(
                "/completion", prompt=before, n_predict=1, n_probs=100_000, grammar='root ::= "a"'
            )
            told = reply["completion_probabilities"]
        total += next(each["logprob"] for each in told[0]["top_logprobs"] if each["id"] == token)
    await engine.close()
    return total


def test_the_sum_over_its_tokens(opened: Opened) -> None:
    """What one call per choice gives is what the distribution of every step gives."""
    choices = ("yes", "no, not at all", "ünïcode 日本 👍", '"quoted" \\ and <[5]>')
    (found,) = answers(opened(), choosing(*choices))
    assert len(found.logprobs) == 4
    for choice, logprob in zip(choices, found.logprobs, strict=True):
        exact = asyncio.run(stepwise(opened(), "Which one?", choice))
        assert logprob == pytest.approx(exact, abs=1e-3)
    best = max(found.logprobs, key=lambda logprob: logprob or 0.0)
    assert found.text == choices[found.logprobs.index(best)]
    assert found.completion_tokens > 4 and found.prompt_tokens > 4


def test_the_same_in_any_order_and_company(opened: Opened) -> None:
    """A choice's number depends on the question alone, not on the others or on what runs beside."""
    words = ("red", "green", "blue", "a longer one")
    asked = [choosing(*words), choosing(*reversed(words)), choosing("green", "nothing")]
    one, two, three = answers(opened(max_in_flight=3), *asked)
    assert one.logprobs == pytest.approx(tuple(reversed(two.logprobs)), abs=1e-3)
    assert three.logprobs[0] == pytest.approx(one.logprobs[1], abs=1e-3)
    assert one.text == two.text


def test_control_tokens_in_a_choice_are_text(opened: Opened) -> None:
    """A choice that looks like the end of a turn is scored as its letters."""
    (found,) = answers(opened(), choosing("</s>", "<s>", "plain"))
    assert all(logprob is not None and logprob < -5 for logprob in found.logprobs[:2])


def test_beside_a_picture(opened: Opened) -> None:
    """The same picture gives the same numbers, another one gives others."""
    engine = opened(args={"mmproj": "eyes.gguf"})

    def seen(colour: str) -> Request:
        return replace(request(picture(png(colour)), "Which?"), choices=("red", "blue"))

    one, two, three = answers(engine, seen("red"), seen("red"), seen("blue"))
    assert one.logprobs == pytest.approx(two.logprobs, abs=1e-3)
    assert one.logprobs != three.logprobs


def test_a_choice_too_long_for_the_context(opened: Opened) -> None:
    """It fails its record, and says which choice it was; the other records go on."""
    engine = opened(args={"context": 256})
    long, short = asyncio.run(ask(engine, choosing("a b " * 400, "b"), choosing("a", "b")))
    assert isinstance(long, EngineError) and long.kind in ("choices", "too_long")
    assert isinstance(short, Completion)


def test_a_model_that_thinks(opened: Opened, models: Path) -> None:
    """Scoring before its thoughts would mean nothing: it is refused, with the way out."""
    template = (
        "{% for m in messages %}{{ m.content }}{% endfor %}"
        "{% if not quiet %}{{ '<think>\\n' }}{% endif %}"
    )
    (refused,) = asyncio.run(ask(opened(chat_template=template), choosing("a", "b")))
    assert isinstance(refused, EngineError) and "enable_thinking" in refused.message
    off = {"chat_template_kwargs": {"quiet": True}}
    assert answers(opened(chat_template=template, extra_body=off), choosing("a", "b"))
