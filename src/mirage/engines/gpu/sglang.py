"""SGLang in this process: `sglang.Engine`, through its asynchronous interface.

It starts processes of its own for the model; where one of these dies, SGLang ends this process as
well (what is journalled is kept). `launch: true` keeps such a death apart: see `launch.py`.

Interface: https://docs.sglang.ai/basic_usage/offline_engine_api.html
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from mirage.engines.gpu.config import SGLANG
from mirage.engines.gpu.engine import GpuEngine, template_renderer
from mirage.engines.gpu.prompt import Prompt, Turns
from mirage.errors import EngineError
from mirage.record import Completion, Request

RENAMED = {"max_tokens": "max_new_tokens", "seed": "sampling_seed"}


class SGLangEngine(GpuEngine):
    """`args` are those of `sglang.Engine`, such as `tp_size`."""

    kind = SGLANG

    def load(self) -> tuple[Any, str]:
        import sglang

        given = self.given
        more = dict(given.args)
        if given.config.chat_template is not None and self._jinja is None:
            more["chat_template"] = named_template(given.config.chat_template, given.base)
        engine = sglang.Engine(model_path=given.model, **more)
        return engine, getattr(sglang, "__version__", "")

    def tokenizer(self) -> Any:
        return self.engine.tokenizer_manager.tokenizer

    def sees(self) -> bool:
        return bool(self.engine.tokenizer_manager.model_config.is_multimodal)

    def renderer(self, tokenizer: Any) -> Callable[[Turns], str]:
        """The template that SGLang's server would apply: one of its own, by name, given or known
        from the model's path; otherwise the one that the model brings.
        """
        if (name := self._named) is None:
            return template_renderer(tokenizer, self.given.options, self._jinja)
        return partial(_shown, name=name)

    @property
    def _jinja(self) -> str | None:
        """A template that stands in the configuration itself."""
        template = self.given.config.chat_template
        return template if template is not None and "{" in template else None

    @property
    def _named(self) -> str | None:
        """Which of SGLang's own templates is in use."""
        name: str | None = self.engine.template_manager.chat_template_name
        return name if self._jinja is None else None

    async def answer(self, prompt: Prompt, images: list[Any], request: Request) -> Completion:
        reply = await self._call(prompt, images, self._sampling(request))
        about = reply["meta_info"]
        finish = about.get("finish_reason") or {}
        if finish.get("type") == "abort":
            message = str(finish.get("message") or "SGLang gave the call up")
            raise EngineError("aborted", message[:500], attempts=1)
        asked, said = about.get("prompt_tokens") or 0, about.get("completion_tokens") or 0
        return Completion(reply["text"], finish.get("type", "stop"), asked, said)

    async def score(
        self, prompt: Prompt, images: list[Any], tokens: list[int]
    ) -> tuple[list[float], int]:
        start = 0 if images else max(0, len(prompt.ids) - len(tokens) - 1)
        sampling = {"temperature": 0.0, "max_new_tokens": 1}
        asked = {"return_logprob": True, "logprob_start_len": start}
        about = (await self._call(prompt, images, sampling, **asked))["meta_info"]
        found = about["input_token_logprobs"][-len(tokens) :]
        same = [entry[1] for entry in found] == tokens
        known = [float(entry[0]) for entry in found if entry[0] is not None]
        return known if same else [], about.get("prompt_tokens") or 0

    async def _call(
        self, prompt: Prompt, images: list[Any], sampling: dict[str, Any], **more: Any
    ) -> Any:
        given: dict[str, Any] = {"input_ids": prompt.ids}
        if images:  # beside pictures SGLang reads a text
            given = {"prompt": prompt.text, "image_data": images}
        name = uuid.uuid4().hex
        async with self.one_call(partial(self.engine.tokenizer_manager.abort_request, rid=name)):
            return await self.engine.async_generate(
                **given, sampling_params=sampling, rid=name, **more
            )

    def _sampling(self, request: Request) -> dict[str, Any]:
        given = {RENAMED.get(key, key): value for key, value in self.sampling(request).items()}
        given.setdefault("max_new_tokens", None)  # SGLang's own default is 128
        if request.schema is not None:
            given["json_schema"] = orjson.dumps(request.schema).decode()
        if (name := self._named) is not None and "stop" not in given:
            from sglang.srt.parser.conversation import chat_templates

            given["stop"] = chat_templates[name].stop_str
        return given


def named_template(template: str, base: Path) -> str:
    """A file, relative to the configuration, or the name of one of SGLang's own."""
    path = base / Path(template).expanduser()
    return str(path) if path.is_file() else template


def _shown(turns: Turns, *, name: str) -> str:
    """A conversation under one of SGLang's own templates."""
    from sglang.srt.entrypoints.openai.protocol import ChatCompletionRequest
    from sglang.srt.parser.conversation import generate_chat_conv

    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    messages = [
        turn
        if isinstance(turn["content"], str)
        else {**turn, "content": [image if p["type"] == "image" else p for p in turn["content"]]}
        for turn in turns
    ]
    asked = ChatCompletionRequest(model="", messages=messages)
    shown: str = generate_chat_conv(asked, name).get_prompt()
    return shown
