"""Which engine is meant, and what this version does not serve."""

from __future__ import annotations

from typing import Any

import pytest

from mirage.config import backend_of, engine_flag, parse_config, unserved
from mirage.config.models import EngineConfig


@pytest.mark.parametrize(
    ("keys", "backend"),
    [
        ({"backend": "fake", "base_url": "http://h"}, "fake"),
        ({"base_url": "http://h", "model_path": "a.gguf"}, "openai"),
        ({"model_path": "a.GGUF"}, "llamacpp"),
        ({"model_path": "demo"}, "llamacpp"),
        ({"model_path": "Qwen/Qwen2.5-VL-7B-Instruct"}, "sglang"),
    ],
)
def test_the_backend_follows_from_what_is_given(keys: dict[str, Any], backend: str) -> None:
    """An endpoint, a GGUF file, the demo, and otherwise the document's own case."""
    assert backend_of(EngineConfig(**keys)) == backend


@pytest.mark.parametrize(
    ("flag", "keys"),
    [
        ("fake", {"backend": "fake"}),
        ("llamacpp:demo", {"backend": "llamacpp", "model_path": "demo"}),
        (
            "openai:gpt-x@http://host/v1",
            {"backend": "openai", "model_path": "gpt-x", "base_url": "http://host/v1"},
        ),
        ("openai:http://h/v1", {"backend": "openai", "base_url": "http://h/v1"}),
        ("http://h:1/v1", {"base_url": "http://h:1/v1"}),
        ("qwen3:8b@http://h:1/v1", {"model_path": "qwen3:8b", "base_url": "http://h:1/v1"}),
        ("fake@http://h:1/v1", {"model_path": "fake", "base_url": "http://h:1/v1"}),
        ("models/a.gguf", {"model_path": "models/a.gguf"}),
        ("openai:org/m@rev", {"backend": "openai", "model_path": "org/m@rev"}),
    ],
)
def test_the_flag_names_backend_model_and_endpoint(flag: str, keys: dict[str, Any]) -> None:
    """Each part may be left out where the others say enough."""
    assert engine_flag(flag) == keys


@pytest.mark.parametrize(
    ("flag", "says"),
    [("llamcpp:demo", "did you mean 'llamacpp'"), ("foo:bar", "known are"), (" ", "name an")],
)
def test_a_flag_that_says_nothing_known_is_refused(flag: str, says: str) -> None:
    """An unknown backend is never taken for a model."""
    with pytest.raises(ValueError, match=says):
        engine_flag(flag)


def test_every_backend_and_every_source_is_served() -> None:
    """Nothing of a configuration is left for a later version."""
    config = parse_config(
        "inputs: []\noutput_schema: {a: b}\n"
        "source: [{path: 's3://b/a'}, {path: 'hf://o/n'}, {path: a}]\n"
        "engine: {model_path: Qwen/Q, rpm: 5}\n"
        "engines: {j: {backend: vllm}, k: {base_url: [a, b], backend: openai}}\n"
    ).config
    assert unserved(config) == []


def test_what_this_version_serves_is_not_listed() -> None:
    """An endpoint and local files are served."""
    text = "inputs: []\noutput_schema: {a: b}\nsource: {path: a}\nengine: {base_url: http://h}\n"
    assert unserved(parse_config(text).config) == []
