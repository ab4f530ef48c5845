"""Which engine a configuration means, and what of it this version does not serve."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

from mirage.config.models import Config, EngineConfig
from mirage.names import Path, suggest

BACKENDS: tuple[str, ...] = get_args(get_args(EngineConfig.model_fields["backend"].annotation)[0])
SERVED = ("openai", "sglang", "vllm", "transformers", "llamacpp", "fake")
"""The backends that `mirage.engines` opens."""
IN_FLIGHT = 64
"""How many calls are under way where `max_in_flight` is not given, if the engine has no reason for
another number."""
LATER = "is not in this version"
DEMO = "demo"
"""The model that ships with the package, by its name."""

_URL = re.compile(r"https?://", re.IGNORECASE)
_MODEL_AT = re.compile(r"(?:[^:]*@)?https?://", re.IGNORECASE)


def backend_of(engine: EngineConfig) -> str:
    """The backend as given, or as it follows: an endpoint, a GGUF file or the demo, else SGLang."""
    if engine.backend:
        return engine.backend
    if engine.base_url:
        return "openai"
    model = engine.model_path or ""
    return "llamacpp" if model == DEMO or model.lower().endswith(".gguf") else "sglang"


def engine_flag(text: str) -> dict[str, Any]:
    """What `--engine` says, as keys of `engine`; ValueError where it says nothing known.

    `llamacpp:demo`, `openai:gpt-x@http://host/v1`, `fake`; without a backend a model, an endpoint,
    or `model@http://host/v1`.
    """
    text = text.strip()
    backend, colon, rest = text.partition(":")
    if backend in BACKENDS:
        found: dict[str, Any] = {"backend": backend}
        text = rest
    elif colon and not _MODEL_AT.match(text) and not _known_otherwise(text, backend):
        near = suggest(backend, BACKENDS) or f"; known are {', '.join(BACKENDS)}"
        raise ValueError(f"unknown backend '{backend}'{near}")
    else:
        found = {}
    if _URL.match(text):
        model, url = "", text
    else:
        model, _, url = re.sub(r"@(?=https?://)", "\0", text, count=1).partition("\0")
    if model:
        found["model_path"] = model
    if url:
        found["base_url"] = url
    if not found:
        raise ValueError("name an engine, such as llamacpp:demo or openai:MODEL@http://host/v1")
    return found


def _known_otherwise(text: str, backend: str) -> bool:
    """`qwen3:8b@http://…` is a model of an endpoint, unless it looks like a backend misspelt."""
    return "@http" in text and not suggest(backend, BACKENDS)


def unserved(config: Config) -> list[tuple[Path, str]]:
    """What the dialect knows and this version does not serve yet: path and message."""
    found: list[tuple[Path, str]] = []
    if config.engine is not None:
        found += _unserved_engine(("engine",), config.engine)
    for name, engine in config.engines.items():
        found += _unserved_engine(("engines", name), engine)
    return found


def _unserved_engine(place: Path, engine: EngineConfig) -> Iterator[tuple[Path, str]]:
    backend = backend_of(engine)
    if backend in SERVED:
        return
    key = ("backend",) if engine.backend else ()
    how = "" if engine.backend else ", which follows from the other keys,"
    message = (
        f"the backend {backend}{how} {LATER}: serve the model with an OpenAI-compatible "
        "endpoint and give its base_url"
    )
    yield (*place, *key), message
