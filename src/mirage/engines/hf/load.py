"""A model of the Hugging Face kind in memory: weights, tokenizer, and processor where it sees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from msgspec import Struct
from transformers import AutoConfig, AutoProcessor, AutoTokenizer, GenerationConfig
from transformers.utils import logging

from mirage.engines.hf.config import Settings
from mirage.errors import RunError

FAULTS = (
    *(OSError, ValueError, KeyError, ImportError, RuntimeError, TypeError, AttributeError),
    AssertionError,  # torch's, for a device that it was not built for
)
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class Loaded(Struct, frozen=True):
    """`processor` is None for a model that takes text alone. `ends` are the tokens that end an
    answer, `pad` the one that fills rows up; `context` is the most tokens of prompt and answer.
    """

    model: Any
    tokenizer: Any
    processor: Any
    ends: frozenset[int]
    pad: int
    context: int

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def vocabulary(self) -> int:
        return int(self.model.config.get_text_config().vocab_size)


def load(given: Settings) -> Loaded:
    """Seconds for a small model, minutes for a large one. Raises RunError."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    common: dict[str, Any] = {"trust_remote_code": bool(given.args.get("trust_remote_code"))}
    if not given.local:
        common["revision"] = given.revision
    try:
        return _load(given, common)
    except FAULTS as exc:
        raise RunError(f"transformers cannot load {given.model}: {exc}") from exc


def _load(given: Settings, common: Mapping[str, Any]) -> Loaded:
    config = AutoConfig.from_pretrained(given.model, **common)
    processor = _processor(given.model, common) if _sees(config) else None
    keys = {k: given.args[k] for k in ("attn_implementation",) if k in given.args}
    auto = _model_class(processor is not None)
    model = auto.from_pretrained(
        given.model, dtype=given.args.get("dtype", "auto"), **keys, **common
    )
    device = given.args.get("device") or own_device(torch.cuda.device_count(), os.environ)
    model = model.to(device).eval()
    tokenizer = (
        processor.tokenizer if processor else AutoTokenizer.from_pretrained(given.model, **common)
    )
    if not tokenizer.is_fast:
        raise ValueError("it has no fast tokenizer, which schemas need")
    ends = _ends(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else max(ends, default=0)
    model.generation_config = GenerationConfig(
        pad_token_id=pad
    )  # the model's own would be mixed in
    limit = getattr(config.get_text_config(), "max_position_embeddings", None) or 1 << 20
    context = min(given.args.get("context", limit), limit)
    return Loaded(model, tokenizer, processor, ends, pad, context)


def own_device(gpus: int, environ: Mapping[str, str]) -> str:
    """The CPU, or this process's own GPU: of several on one machine each takes the next."""
    local = environ.get("LOCAL_RANK", "0")
    return f"cuda:{int(local) % gpus}" if gpus and local.isdigit() else "cuda" if gpus else "cpu"


def is_scarce(error: str) -> bool:
    """Whether an error of torch's says that memory is."""
    return any(sign in error.lower() for sign in NO_MEMORY)


def _sees(config: Any) -> bool:
    return hasattr(config, "vision_config")


def _processor(model: str, common: Mapping[str, Any]) -> Any:
    processor = AutoProcessor.from_pretrained(model, **common)
    return processor if hasattr(processor, "image_processor") else None


def _model_class(sees: bool) -> Any:
    name = "AutoModelForImageTextToText" if sees else "AutoModelForCausalLM"
    return getattr(transformers, name)


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """Generation settings, configuration and tokenizer each may name tokens that end an answer."""
    found: set[int] = set()
    for given in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        if given is not None:
            found |= {given} if isinstance(given, int) else {*given}
    return frozenset(found)
