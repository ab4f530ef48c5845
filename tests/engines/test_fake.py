"""The fake engine: deterministic, and a function of everything that it is asked."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from mirage.config.models import EngineConfig
from mirage.engines import open_engine
from mirage.engines.fake import instance
from mirage.errors import ConfigError, EngineError
from mirage.record import Engine

from .asking import COLOUR, answers, failure, picture, request

SCHEMAS: list[dict[str, Any]] = [
    COLOUR,
    {"type": "integer", "minimum": 3, "maximum": 5},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    {"type": "number", "minimum": -1, "maximum": -0.5},
    {"type": "string", "minLength": 30, "maxLength": 31},
    {"type": "string", "maxLength": 2},
    {"type": ["string", "null"]},
    {"const": {"a": 1}},
    {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 7},
    {"type": "array", "items": {"type": "integer"}, "maxItems": 1},
    {
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "below": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
                },
                "required": ["name", "below"],
            }
        },
        "$ref": "#/$defs/tree",
    },
]


def fake(**args: Any) -> Engine:
    return open_engine(EngineConfig(args=args), backend="fake", name="engine", base=Path())


def said(*parts: Any, **keys: Any) -> str:
    return answers(fake(), request(*parts, **keys))[0].text


@pytest.mark.parametrize("schema", SCHEMAS)
def test_instances_are_valid(schema: dict[str, Any]) -> None:
    """Every value that is drawn fits the schema, and the same draw gives the same value."""
    for seed in range(20):
        value = instance(schema, random.Random(seed))
        jsonschema.validate(value, schema)
        assert value == instance(schema, random.Random(seed))


def test_the_answer_shows_the_question() -> None:
    """A plain answer is a hash and the first words of the prompt, the same every time."""
    text = said("Reformat the answer in Markdown without anything else")
    assert text == said("Reformat the answer in Markdown without anything else")
    assert text.startswith("fake ") and text.endswith(" Reformat the answer in Markdown without")


def test_every_part_of_the_question_counts() -> None:
    """Texts, their boundaries, pictures, their bytes and their order all change the answer."""
    red, blue = picture(b"red"), picture(b"blue")
    asked: list[tuple[Any, ...]] = [
        ("a",),
        ("b",),
        ("a", red),
        (red, "a"),
        ("a", blue),
        ("a", red, blue),
        ("a", blue, red),
    ]
    assert len({said(*parts) for parts in asked}) == len(asked)


def test_draws_count_only_above_temperature_zero() -> None:
    """At temperature 1 each draw has its answer; at 0 the draw makes no difference."""
    assert said("a", draw="1", temperature=1.0) != said("a", draw="2", temperature=1.0)
    assert said("a", draw="1") == said("a", draw="2")


def test_a_schema_is_answered_with_an_instance() -> None:
    """The declared keys come in the declared order."""
    value = orjson.loads(said("What colour?", schema=COLOUR))
    assert list(value) == ["colour", "sure"]


def test_told_what_to_say() -> None:
    """`echo` gives the prompt back, `reply` a fixed text."""
    assert answers(fake(echo=True), request("as it is"))[0].text == "as it is"
    assert answers(fake(reply="no"), request("anything"))[0].text == "no"


def test_told_to_fail() -> None:
    """With `fail: 1` every prompt fails, and always as an EngineError."""
    error = failure(fake(fail=1), request("a"))
    assert isinstance(error, EngineError) and error.kind == "fake"


def test_unknown_arguments_are_refused() -> None:
    """A misspelt argument is a mistake in the configuration."""
    with pytest.raises(ConfigError, match=r"engine\.args\.latencey"):
        fake(latencey=1)


@pytest.mark.parametrize("args", [{"latency": "slow"}, {"fail": -1}, {"fail": True}])
def test_arguments_of_a_wrong_kind_are_refused(args: dict[str, Any]) -> None:
    """Before the first call, not at each of them."""
    with pytest.raises(ConfigError, match=r"engine\.args\.\w+: must be a number"):
        fake(**args)
