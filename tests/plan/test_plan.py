"""What a plan's fingerprint covers, and the mistakes that only a plan can see."""

from __future__ import annotations

from typing import Any

import pytest

from mirage.errors import ConfigError
from mirage.given import loaded
from mirage.plan import Plan, build

BASE: dict[str, Any] = {
    "source": {"path": "in.jsonl"},
    "engine": {"base_url": "http://127.0.0.1:1/v1", "model_path": "m", "api_key_env": "KEY"},
    "inputs": [{"name": "q", "key": "q"}],
    "outputs": [{"name": "a", "prompt": "Say {q}"}],
    "output_schema": {"a": "{a}"},
    "sink": {"path": "out.jsonl"},
}


def plan(**keys: Any) -> Plan:
    return build(loaded({**BASE, **keys}, {}))


def over(name: str, **keys: Any) -> dict[str, Any]:
    return {name: {**BASE.get(name, {}), **keys}}


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": [{"name": "q", "key": "other"}]},
        {"inputs": [{"name": "q", "key": "q", "default": "x"}]},
        {"outputs": [{"name": "a", "prompt": "Tell {q}"}]},
        {"outputs": [{"name": "a", "prompt": "Say {q}", "system": "Be brief."}]},
        {"output_schema": {"b": "{a}"}},
        over("engine", model_path="other"),
        over("engine", sampling={"temperature": 0.5}),
        over("engine", extra_body={"top_k": 3}),
        over("run", seed=1),
        over("source", image_base_path="pictures"),
    ],
)
def test_what_decides_the_values(change: dict[str, Any]) -> None:
    """A change of it is another fingerprint."""
    assert plan(**change).fingerprint != plan().fingerprint


@pytest.mark.parametrize(
    "change",
    [
        over("engine", base_url="http://other:2/v1"),
        over("engine", api_key_env="OTHER", headers={"X": "y"}, query={"v": "1"}),
        over("engine", max_in_flight=3, timeout=5, retries=1),
        over("sink", path="other.jsonl"),
        over("run", dir="elsewhere", block_rows=7, max_failures=3, on_error="stop"),
        over("source", path="other.jsonl", limit=5),
    ],
)
def test_what_does_not(change: dict[str, Any]) -> None:
    """Limits, addresses, keys and places are no part of it."""
    assert plan(**change).fingerprint == plan().fingerprint


def test_the_sink_has_its_own() -> None:
    """Another sink is another part, of the same values."""
    assert plan(**over("sink", images="path")).sink_fingerprint != plan().sink_fingerprint


def test_the_size_of_blocks() -> None:
    """`run.block_rows` bounds them."""
    assert plan(**over("run", block_rows=7)).bounds.rows == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": [{"name": "a", "prompt": "{qq}"}]}, "outputs.*prompt.*did you mean 'q'"),
        ({"outputs": [{"name": "q", "prompt": "x"}]}, "'q' is declared twice"),
        ({"outputs": [{"name": "a", "prompt": "{b}"}, {"name": "b", "prompt": "{a}"}]}, "need"),
        ({"outputs": [{"name": "a", "prompt": "x", "engine": "x"}]}, "no engine is called 'x'"),
        ({"outputs": [{"name": "a", "prompt": "x", "images": ["q"]}]}, "no input of"),
        ({"outputs": [{"name": "a", "prompt": "x", "output_type": "JSON"}]}, "output_schema"),
        ({"outputs": [{"name": "a", "prompt": "x", "many": True}]}, "`many` needs"),
        (
            {"outputs": [{"name": "a", "prompt": "x", "structured": "two_pass"}]},
            "`structured` needs",
        ),
        ({"outputs": [{"name": "a", "prompt": "x", "output_schema": {"b": "int"}}]}, "a` needs"),
        ({"outputs": [{"name": "a", "prompt": "x", "choices": [*map(str, range(27))]}]}, "most 26"),
        ({"engine": None}, "no engine is given"),
        ({"engine": {"backend": "llamacpp", "args": {"x": 1}}}, r"engine\.args\.x: not an arg"),
    ],
)
def test_mistakes(change: dict[str, Any], message: str) -> None:
    """Each is said before anything runs."""
    with pytest.raises(ConfigError, match=message):
        plan(**change)


def test_a_model_is_called_by_its_name() -> None:
    """The model that takes no images is named as it was given, not as request keys know it."""
    keys = over("engine", args={"images": False}, extra_body={"top_k": 3})
    with pytest.raises(ConfigError, match="it sends images, and m takes none"):
        plan(**keys, inputs=[{"name": "q", "key": "q", "type": "image"}])


def test_all_mistakes_at_once() -> None:
    """Whoever made three is told of three."""
    outputs = [{"name": "a", "prompt": "{x}"}, {"name": "b", "type": "filter", "keep": "y > 1"}]
    with pytest.raises(ConfigError) as caught:
        plan(outputs=outputs, output_schema={"z": "{zz}"})
    assert len(caught.value.mistakes) == 3


def test_columns_that_are_no_sample() -> None:
    """A sink of samples would refuse every row: the plan says so, at the column."""
    text = {"output_schema": {"mesages": [{"role": "user", "content": "{a}"}]}}
    with pytest.raises(ConfigError, match=r"output_schema.mesages: .*; did you mean 'messages'\?"):
        plan(**text, **over("sink", format="trl"))


@pytest.mark.parametrize("name", ["jsonl", "trl", "messages", "sharegpt"])
def test_columns_that_may_be_a_sample(name: str) -> None:
    """What a step puts into a column is not known; rows that need not be samples are not asked."""
    columns = {"a": "{a}"} if name == "jsonl" else {"messages": "{a}"}
    assert plan(output_schema=columns, **over("sink", format=name))
