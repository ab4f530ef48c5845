"""Modules that take the place of `sglang` and `vllm`, and take exactly what is recorded of them.

Calls are bound to the recorded signatures, so that an argument too many, or one misspelt, is a
TypeError, as it would be there. The model behind them repeats its prompt, keeps to a schema, and
finds a text the less likely the longer it is.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import orjson

from mirage.engines import fake
from mirage.engines.gpu.signatures import recorded
from mirage.record import Message

SPECIAL = {"<|im_start|>": 1000, "<|im_end|>": 1001, "<image>": 1002, "<think>": 1003}
FILES = {
    "sglang": {
        "__init__.py": "from engines.gpu.standin_modules import Engine\n__version__ = '0.5.23'\n",
        "srt/__init__.py": "",
        "srt/parser/__init__.py": "",
        "srt/parser/conversation.py": (
            "from engines.gpu.standin_modules import chat_templates, generate_chat_conv\n"
        ),
        "srt/entrypoints/__init__.py": "",
        "srt/entrypoints/openai/__init__.py": "",
        "srt/entrypoints/openai/protocol.py": (
            "from engines.gpu.standin_modules import ChatCompletionRequest\n"
        ),
    },
    "vllm": {
        "__init__.py": (
            "from engines.gpu.standin_modules import AsyncEngineArgs, AsyncLLMEngine\n"
            "from engines.gpu.standin_modules import SamplingParams\n"
            "__version__ = '0.33.0'\n"
        ),
        "sampling_params.py": (
            "from engines.gpu.standin_modules import RequestOutputKind, StructuredOutputsParams\n"
        ),
        "v1/__init__.py": "",
        "v1/engine/__init__.py": "",
        "v1/engine/exceptions.py": "from engines.gpu.standin_modules import EngineDeadError\n",
    },
}


def install(package: str, folder: Path) -> None:
    for name, text in FILES[package].items():
        path = folder / package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def signature(package: str, function: str) -> inspect.Signature:
    found = list[inspect.Parameter]()
    kind: Any = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for name in recorded(package).functions[function]:
        if name == "*":
            kind = inspect.Parameter.KEYWORD_ONLY
        elif name.startswith("**"):
            found.append(inspect.Parameter(name[2:], inspect.Parameter.VAR_KEYWORD))
        else:
            default = None if name.endswith("=") else inspect.Parameter.empty
            found.append(inspect.Parameter(name.rstrip("="), kind, default=default))
    return inspect.Signature(found)


def bound(package: str, function: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    given = signature(package, function).bind(*args, **kwargs)
    given.apply_defaults()
    return dict(given.arguments)


def checked(known: Mapping[str, str], given: Mapping[str, Any]) -> None:
    if unknown := set(given) - set(known):
        raise TypeError(f"got an unexpected keyword argument {sorted(unknown)[0]!r}")


class Behaviour:
    """What the modules do; tests change it."""

    multimodal: ClassVar[bool] = True
    template: ClassVar[str] = "parts"
    named: ClassVar[str | None] = None
    hangs: ClassVar[bool] = False
    dead: ClassVar[bool] = False
    refuses: ClassVar[str] = ""
    finish: ClassVar[str] = "stop"
    fails_to_load: ClassVar[bool] = False


class Tokenizer:
    """One token for a letter, and those of SPECIAL; turns as ChatML writes them."""

    all_special_tokens = ("<|im_start|>", "<|im_end|>")
    chat_template: str | None = "chatml"

    def get_added_vocab(self) -> dict[str, int]:
        return dict(SPECIAL)

    def __call__(
        self, text: str, *, add_special_tokens: bool, split_special_tokens: bool = False
    ) -> dict[str, list[int]]:
        """As fast tokenizers do, `split_special_tokens` splits only those that are special."""
        assert not add_special_tokens
        kept = {t: n for t, n in SPECIAL.items() if not split_special_tokens or t == "<image>"}
        pieces = re.split("(" + "|".join(map(re.escape, kept)) + ")", text)
        ids = [[kept[p]] if p in kept else [ord(c) for c in p] for p in pieces]
        return {"input_ids": [token for piece in ids for token in piece]}

    def apply_chat_template(
        self,
        turns: list[dict[str, Any]],
        *,
        tokenize: bool,
        add_generation_prompt: bool,
        chat_template: str | None = None,
        enable_thinking: bool = False,
    ) -> str:
        assert not tokenize and add_generation_prompt
        head = f"[{chat_template}]" if chat_template else ""
        shown = [f"<|im_start|>{t['role']}\n{self._shown(t['content'])}<|im_end|>\n" for t in turns]
        thinks = "<think>\n" if enable_thinking else ""
        return head + "".join(shown) + "<|im_start|>assistant\n" + thinks

    def _shown(self, content: Any) -> str:
        if Behaviour.template == "text":
            return str(content)
        if isinstance(content, str):
            return "" if Behaviour.template == "parts only" else content
        return "".join("<image>" if p["type"] == "image" else p["text"] for p in content)


def letters(ids: list[int]) -> str:
    names = {number: name for name, number in SPECIAL.items()}
    return "".join(names.get(each) or chr(each) for each in ids)


def said(prompt: str, images: int, schema: Any) -> str:
    """The answer: the prompt itself, or an instance of the schema."""
    if schema is None:
        return f"{images} {prompt}"
    message = Message("user", (prompt,))
    return fake.answer((message,), schema, fake.digest_of((message,), ""))


async def thought_about() -> None:
    await asyncio.sleep(60 if Behaviour.hangs else 0)
    if Behaviour.refuses:
        raise ValueError(Behaviour.refuses)


class Engine:
    """`sglang.Engine`."""

    last: ClassVar[Engine | None] = None

    def __init__(self, **kwargs: Any) -> None:
        checked(recorded("sglang").arguments, kwargs)
        if Behaviour.fails_to_load:
            raise RuntimeError("no GPU")
        self.kwargs, self.calls, self.aborted, self.down = kwargs, [], [], False
        config = SimpleNamespace(is_multimodal=Behaviour.multimodal)
        self.tokenizer_manager = SimpleNamespace(
            tokenizer=Tokenizer(), model_config=config, abort_request=self._abort
        )
        self.template_manager = SimpleNamespace(chat_template_name=Behaviour.named)
        Engine.last = self

    kwargs: dict[str, Any]
    calls: list[dict[str, Any]]
    aborted: list[str]

    def _abort(self, *args: Any, **kwargs: Any) -> None:
        given = bound("sglang", "TokenizerManager.abort_request", *args, **kwargs)
        self.aborted.append(given["rid"])

    async def async_generate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        given = bound("sglang", "Engine.async_generate", *args, **kwargs)
        sampling = given["sampling_params"]
        checked(recorded("sglang").classes["SamplingParams"], sampling)
        self.calls.append(given)
        assert (given["prompt"] is None) != (given["input_ids"] is None)
        await thought_about()
        ids = given["input_ids"]
        if ids is None:  # beside pictures, the text is read as it stands
            ids = Tokenizer()(given["prompt"], add_special_tokens=False)["input_ids"]
        pictures = given["image_data"] or []
        assert ids.count(SPECIAL["<image>"]) == len(pictures)
        schema = orjson.loads(sampling["json_schema"]) if "json_schema" in sampling else None
        text = said(letters(ids), len(pictures), schema)
        limit = sampling.get("max_new_tokens", 128)
        finish = {"type": Behaviour.finish, "message": "why"}
        about = {"prompt_tokens": len(ids), "completion_tokens": len(text), "finish_reason": finish}
        if given["return_logprob"]:
            start = given["logprob_start_len"]
            found = [(None if n == start else -0.5, ids[n], None) for n in range(start, len(ids))]
            about["input_token_logprobs"] = found
        return {"text": text[:limit], "meta_info": about}

    def shutdown(self) -> None:
        self.down = True


class Conversation:
    stop_str = ("STOP",)

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self._messages = messages

    def get_prompt(self) -> str:
        def shown(content: Any) -> str:
            if isinstance(content, str):
                return content
            return "".join("<image>" if p["type"] == "image_url" else p["text"] for p in content)

        return "".join(f"{m['role']}: {shown(m['content'])};" for m in self._messages)


chat_templates = {"qwen2-vl": Conversation([])}


class ChatCompletionRequest:
    def __init__(self, *, model: str, messages: list[dict[str, Any]]) -> None:
        self.messages = messages


def generate_chat_conv(*args: Any, **kwargs: Any) -> Conversation:
    given = bound("sglang", "generate_chat_conv", *args, **kwargs)
    assert given["template_name"] in chat_templates
    return Conversation(given["request"].messages)


class EngineDeadError(Exception):
    """`vllm.v1.engine.exceptions.EngineDeadError`."""


class RequestOutputKind(Enum):
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


class StructuredOutputsParams:
    def __init__(self, **kwargs: Any) -> None:
        checked(recorded("vllm").classes["StructuredOutputsParams"], kwargs)
        self.json = kwargs["json"]


class SamplingParams:
    def __init__(self, **kwargs: Any) -> None:
        checked(recorded("vllm").classes["SamplingParams"], kwargs)
        self.given = kwargs


class AsyncEngineArgs:
    def __init__(self, **kwargs: Any) -> None:
        checked(recorded("vllm").arguments, kwargs)
        self.given = kwargs


class AsyncLLMEngine:
    """`vllm.AsyncLLMEngine`, which is `AsyncLLM`."""

    last: ClassVar[AsyncLLMEngine | None] = None

    def __init__(self, args: AsyncEngineArgs) -> None:
        if Behaviour.fails_to_load:
            raise RuntimeError("no GPU")
        self.kwargs = args.given
        self.calls: list[dict[str, Any]] = []
        self.ended, self.down = 0, False
        self.model_config = SimpleNamespace(is_multimodal_model=Behaviour.multimodal)
        AsyncLLMEngine.last = self

    @classmethod
    def from_engine_args(cls, *args: Any, **kwargs: Any) -> AsyncLLMEngine:
        return cls(bound("vllm", "AsyncLLM.from_engine_args", *args, **kwargs)["engine_args"])

    def get_tokenizer(self) -> Tokenizer:
        return Tokenizer()

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        bound("vllm", "AsyncLLM.shutdown", *args, **kwargs)
        self.down = True

    async def generate(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        given = bound("vllm", "AsyncLLM.generate", *args, **kwargs)
        self.calls.append(given)
        sampling = given["sampling_params"].given
        try:
            await thought_about()
        finally:
            self.ended += 1
        if Behaviour.dead:
            raise EngineDeadError
        ids = given["prompt"]["prompt_token_ids"]
        pictures = (given["prompt"].get("multi_modal_data") or {}).get("image", [])
        assert ids.count(SPECIAL["<image>"]) == len(pictures)
        schema = sampling["structured_outputs"].json if "structured_outputs" in sampling else None
        text = said(letters(ids), len(pictures), schema)[: sampling.get("max_tokens", 16)]
        scores = None
        if sampling.get("prompt_logprobs") is not None:
            scores = [None, *({each: SimpleNamespace(logprob=-0.5)} for each in ids[1:])]
        out = SimpleNamespace(text=text, finish_reason=Behaviour.finish, token_ids=[*text])
        yield SimpleNamespace(prompt_token_ids=ids, prompt_logprobs=scores, outputs=[out])
