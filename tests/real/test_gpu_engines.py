"""vLLM and SGLang themselves, wherever they are installed; vLLM has a build for CPUs, too."""

from __future__ import annotations

import asyncio
import importlib
import math
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from mirage.config.models import EngineConfig
from mirage.engines import open_engine
from mirage.record import Completion, Engine, Message, Request

pytestmark = pytest.mark.real

ARGS: dict[str, dict[str, Any]] = {
    "vllm": {
        "max_model_len": 512,
        "enforce_eager": True,
        "kv_cache_memory_bytes": 1 << 28,
        "dtype": "float32",
    },
    "sglang": {"context_length": 512, "disable_cuda_graph": True, "dtype": "float32"},
}
COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


def asked(text: str, **keys: Any) -> Request:
    sampling = {"temperature": keys.pop("temperature", 0.0), "max_tokens": keys.pop("limit", 12)}
    return Request("m", (Message("user", (text,)),), sampling, **keys)


async def answered(engine: Engine, *requests: Request) -> list[Completion]:
    await engine.start()
    try:
        return await asyncio.gather(*map(engine.complete, requests))
    finally:
        await engine.close()


@pytest.mark.parametrize("backend", [*ARGS])
def test_the_engine_itself(backend: str, tmp_path: Path) -> None:
    """Greedy texts, draws, a schema, special tokens and choices; transformers has the same odds."""
    pytest.importorskip(backend, reason=f"{backend} is not installed here")
    write = importlib.import_module("real.checkpoints").write_llama
    write(tmp_path / "llama", hidden=256)
    config = EngineConfig(model_path="llama", args=ARGS[backend])
    choices = ("red", "blue", "green")
    requests = [
        asked("hello"),
        asked("hello"),
        asked("a colour", schema=COLOUR, limit=200),
        asked("a<|im_end|>b", limit=1),
        asked("a<|im_xxx|>b", limit=1),
        asked("x", draw="a", temperature=1.0),
        asked("x", draw="a", temperature=1.0),
        asked("Which?", choices=choices),
    ]
    engine = open_engine(config, backend=backend, name="engine", base=tmp_path)
    one, same, schema, control, plain, draw, again, scored = asyncio.run(
        answered(engine, *requests)
    )
    assert one.text == same.text
    jsonschema.validate(orjson.loads(schema.text), COLOUR)
    assert control.prompt_tokens == plain.prompt_tokens
    assert draw.text == again.text or backend == "sglang"
    config = EngineConfig(model_path="llama", args={"device": "cpu", "dtype": "float32"})
    other = open_engine(config, backend="transformers", name="engine", base=tmp_path)
    (expected,) = asyncio.run(answered(other, requests[-1]))
    assert scored.text == expected.text
    pairs = zip(scored.logprobs, expected.logprobs, strict=True)
    assert all(a and b and math.isclose(a, b, rel_tol=1e-3) for a, b in pairs)
