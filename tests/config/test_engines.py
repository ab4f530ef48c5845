"""Which engine is meant, and what this version does not serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from trust.trial import Trial, questions

from mirage.api import check
from mirage.config import backend_of, engine_flag, parse_config, unserved
from mirage.config.engines import located
from mirage.config.models import EngineConfig
from mirage.errors import ConfigError


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


def test_endpoints_out_of_a_file(tmp_path: Path) -> None:
    """One URL a line, beside the configuration; read anew for each run. Other engines stay."""
    listed = EngineConfig(model_path="m", base_url="file:endpoints.txt")
    (tmp_path / "endpoints.txt").write_text("# the servers\nhttp://a/v1\n\n http://b/v1 # busy\n")
    assert located(listed, tmp_path).base_url == ["http://a/v1", "http://b/v1"]
    (tmp_path / "endpoints.txt").write_text("http://c/v1")
    assert located(listed, tmp_path).base_url == ["http://c/v1"]
    one = EngineConfig(model_path="m", base_url="http://a/v1")
    assert located(one, tmp_path) == one


@pytest.mark.parametrize(
    ("text", "says"), [(None, "cannot be read: No such file"), (b"\n# none", "lists no endpoint")]
)
def test_a_file_without_endpoints(tmp_path: Path, text: bytes | None, says: str) -> None:
    """It is a mistake of the configuration, with its place, before anything runs."""
    if text is not None:
        (tmp_path / "endpoints.txt").write_bytes(text)
    trial = Trial(tmp_path, questions(3), "file:endpoints.txt")
    path = tmp_path / "config.yaml"
    path.write_bytes(orjson.dumps(trial.config))
    with pytest.raises(ConfigError, match=says) as caught:
        check(path)
    assert [mistake.path for mistake in caught.value.mistakes] == ["engine.base_url"]
