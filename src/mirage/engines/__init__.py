"""Requests out, completions in: one file or folder per engine, and the one place that chooses.

    openai.py        any endpoint, through http.py and endpoints.py
    llama/           GGUF files in this process
    hf/              models of the Hugging Face kind in this process
    gpu/             SGLang and vLLM, in this process or as servers that are launched
    fake.py          no model; mock.py is the fake behind an HTTP endpoint

What they share: `window.py`, `retry.py`, `chat.py`, `lettered.py`, `thoughts.py`, `pixels.py` and
`weights.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mirage.config import SERVED
from mirage.config.engines import DEMO
from mirage.config.models import EngineConfig
from mirage.engines.weights import qualified
from mirage.errors import ConfigError, Mistake
from mirage.record import Engine

GPU = ("sglang", "vllm")


def open_engine(config: EngineConfig, *, backend: str, name: str, base: Path) -> Engine:
    """The engine that a configuration describes, not yet started.

    `name` is its path in the configuration (`engine`, or `engines.judge`), for messages; relative
    paths start at `base`. Raises ConfigError.
    """
    if config.launch and backend not in GPU:
        message = f"only {' and '.join(GPU)} can be launched"
        raise ConfigError([Mistake(f"{name}.launch", message)])
    match backend:
        case "sglang" | "vllm":
            return _open_gpu(config, backend, name=name, base=base)
        case "openai":
            from mirage.engines.openai import OpenAIEngine

            return OpenAIEngine(config, name=name)
        case "llamacpp" if config.model_path == DEMO:
            from mirage.engines.llama.demo import DemoEngine

            return DemoEngine(config, name=name)
        case "llamacpp":
            from mirage.engines.llama.engine import LlamaEngine

            return LlamaEngine(config, name=name, base=base)
        case "transformers":
            from mirage.engines.hf.engine import TransformersEngine

            return TransformersEngine(config, name=name, base=base)
        case "fake":
            from mirage.engines.fake import FakeEngine

            return FakeEngine(config, name=name)
        case _:
            raise ConfigError([_not_served(name, backend)])


def identity(config: EngineConfig, backend: str, base: Path = Path()) -> str:
    """What request keys call the model: all that decides its answers, but no URL and no key.

    The endpoint's name of the model with `extra_body`; the content of a GGUF file or of a model's
    folder, sampled, or the id of a model, with what of template, projector and arguments decides
    answers; the arguments of the fake. Raises ConfigError.
    """
    match backend:
        case "openai":
            return qualified(config.model_path or "", config.extra_body)
        case "sglang" | "vllm":
            from mirage.engines.gpu import config as gpu

            return gpu.model_identity(config, gpu.KINDS[backend], base)
        case "llamacpp" if config.model_path == DEMO:
            from mirage.engines.llama.demo import demo_identity

            return demo_identity(config)
        case "llamacpp":
            from mirage.engines.llama.engine import model_identity

            return model_identity(config, base)
        case "transformers":
            from mirage.engines.hf.config import model_identity as folder_identity

            return folder_identity(config, base)
        case "fake":
            args = {key: value for key, value in config.args.items() if key != "latency"}
            return qualified("fake", args)
        case _:
            raise ConfigError([_not_served("engine", backend)])


def _open_gpu(config: EngineConfig, backend: str, *, name: str, base: Path) -> Engine:
    if config.launch:
        from mirage.engines.gpu.config import KINDS
        from mirage.engines.gpu.launch import LaunchedEngine

        return LaunchedEngine(config, KINDS[backend], name=name, base=base)
    if backend == "sglang":
        from mirage.engines.gpu.sglang import SGLangEngine

        return SGLangEngine(config, name=name, base=base)
    from mirage.engines.gpu.vllm import VLLMEngine

    return VLLMEngine(config, name=name, base=base)


def describe(engine: Engine) -> dict[str, Any]:
    """What a manifest says of an engine that has been started; nothing secret."""
    can = engine.abilities
    details: dict[str, Any] = getattr(engine, "details", {})
    return {**details, "capacity": engine.capacity, "images": can.images, "schema": can.schema}


def _not_served(name: str, backend: str) -> Mistake:
    served = ", ".join(SERVED)
    return Mistake(f"{name}.backend", f"{backend} is not served by this version; one of {served}")
