"""Schemas and choices, on the engines that run a model in this process."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from engines.asking import COLOUR, answers, ask, request

from mirage.engines.llama import kept
from mirage.errors import EngineError

torch = pytest.importorskip("torch", reason="make test-engines installs it")

from .conftest import Opened  # noqa: E402

FIVE = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 30},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "share": {"type": "number", "minimum": 0, "maximum": 1},
        "tag": {"enum": ["red", "green", "blue"]},
        "sure": {"type": "boolean"},
    },
    "required": ["title", "count", "share", "tag", "sure"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("backend", ["opened", "llamacpp"])
def test_a_hundred_of_a_hundred(backend: str, request: pytest.FixtureRequest) -> None:
    """Five typed fields with bounds, an enum and a longest length, out of random weights."""
    engine = request.getfixturevalue(backend)(max_in_flight=16)
    asked = [_drawn(f"make {i}", i) for i in range(100)]
    for found in answers(engine, *asked):
        value = orjson.loads(found.text)
        jsonschema.validate(value, FIVE)
        assert list(value) == list(FIVE["properties"])  # type: ignore[call-overload]


def test_one_model_after_another(llamacpp: Opened) -> None:
    """Models of other vocabularies, opened and closed in turn, keep to the schema all the same.

    Without `kept.py` about one in six was constrained in the tokens of the one before.
    """
    for number in range(16):
        engine = llamacpp("llava" if number % 2 else "llama", max_in_flight=1)
        (found,) = answers(engine, request("x", schema=COLOUR, max_tokens=60))
        jsonschema.validate(orjson.loads(found.text), COLOUR)
    assert len(kept.kept()) == 1


def _drawn(text: str, number: int) -> Any:
    return request(text, schema=FIVE, temperature=1.0, draw=str(number), max_tokens=400)


def test_rows_of_all_kinds_share_a_batch(opened: Opened) -> None:
    """Greedy and drawn, with a schema and without: none changes another's answer."""
    asked = [
        request("a", schema=COLOUR, max_tokens=100),
        request("b", schema=FIVE, max_tokens=400, temperature=1.0, draw="1"),
        request("c", max_tokens=10, temperature=1.0, draw="2", ignore_eos=True),
    ]
    engine = opened(args={"continuous": False, "batch": 8})
    first, second, third = answers(engine, *asked)
    jsonschema.validate(orjson.loads(first.text), COLOUR)
    jsonschema.validate(orjson.loads(second.text), FIVE)
    assert third.completion_tokens == 10
    assert answers(opened(), asked[0])[0].text == first.text


def test_a_schema_that_cannot_be_kept_to(opened: Opened) -> None:
    """It fails its own request, and says why."""
    impossible = {"type": "object", "properties": {"a": {"type": "nonsense"}}, "required": ["a"]}
    bad, good = asyncio.run(
        ask(
            opened(),
            request("a", schema=impossible, max_tokens=20),
            request("b", schema=COLOUR, max_tokens=100),
        )
    )
    assert isinstance(bad, EngineError) and bad.kind == "schema" and "nonsense" in str(bad)
    assert not isinstance(good, BaseException)


def test_choices_have_exact_probabilities(opened: Opened, checkpoints: Path) -> None:
    """Summed over the choice's tokens, as one forward pass over prompt and choice gives them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    choices = ("Paris", "the capital of France", "<|im_end|>", "{")
    (found,) = answers(opened(), _choosing("Which one?", choices))
    speaker = AutoTokenizer.from_pretrained(checkpoints / "llama")
    model = AutoModelForCausalLM.from_pretrained(checkpoints / "llama").eval()
    turn = [{"role": "user", "content": "Which one?"}]
    prompt = speaker.apply_chat_template(turn, add_generation_prompt=True, return_dict=True)
    expected = []
    for choice in choices:
        tokens = speaker(choice, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        ids = torch.tensor([prompt["input_ids"] + tokens])
        with torch.no_grad():
            logprobs = model(ids).logits[0].log_softmax(-1)
        at = len(prompt["input_ids"]) - 1
        expected.append(sum(logprobs[at + i, token].item() for i, token in enumerate(tokens)))
    assert len(found.logprobs) == len(choices)
    for ours, theirs in zip(found.logprobs, expected, strict=True):
        assert ours is not None and math.isclose(ours, theirs, abs_tol=1e-3)
    assert found.text == choices[expected.index(max(expected))]


def test_an_empty_choice_is_refused(opened: Opened) -> None:
    """It would have the probability 1."""
    (found,) = asyncio.run(ask(opened(), _choosing("Which?", ("a", ""))))
    assert isinstance(found, EngineError) and found.kind == "choices"


def _choosing(text: str, choices: tuple[str, ...]) -> Any:
    from msgspec.structs import replace

    return replace(request(text), choices=choices)
