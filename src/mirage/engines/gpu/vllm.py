"""vLLM in this process: its asynchronous engine.

Interface: https://docs.vllm.ai/en/latest/api/vllm/v1/engine/async_llm/
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mirage.config.models import EngineConfig
from mirage.engines.gpu.config import VLLM
from mirage.engines.gpu.engine import GpuEngine, template_renderer
from mirage.engines.gpu.prompt import Prompt, Turns
from mirage.errors import ConfigError, EngineError, Mistake, StoppedError
from mirage.record import Completion, Request


class VLLMEngine(GpuEngine):
    """`args` are those of vLLM's `AsyncEngineArgs`, such as `tensor_parallel_size`."""

    kind = VLLM

    def __init__(self, config: EngineConfig, *, name: str, base: Path) -> None:
        self._template = read_template(config.chat_template, name, base)
        super().__init__(config, name=name, base=base)

    def load(self) -> tuple[Any, str]:
        import vllm

        args = vllm.AsyncEngineArgs(
            model=self.given.model, **{"disable_log_stats": True, **self.given.args}
        )
        engine = vllm.AsyncLLMEngine.from_engine_args(args)
        return engine, getattr(vllm, "__version__", "")

    def tokenizer(self) -> Any:
        return self.engine.get_tokenizer()

    def sees(self) -> bool:
        return bool(self.engine.model_config.is_multimodal_model)

    def renderer(self, tokenizer: Any) -> Callable[[Turns], str]:
        template = self._template
        if template is None and tokenizer.chat_template is None:
            template = self._processors_template()
        return template_renderer(tokenizer, self.given.options, template)

    async def answer(self, prompt: Prompt, images: list[Any], request: Request) -> Completion:
        reply = await self._call(prompt, images, self._sampling(request))
        said = reply.outputs[0]
        if said.finish_reason not in ("stop", "length"):
            raise EngineError("aborted", f"vLLM ended the answer: {said.finish_reason}", attempts=1)
        asked = len(reply.prompt_token_ids or ())
        return Completion(said.text, said.finish_reason, asked, len(said.token_ids))

    async def score(
        self, prompt: Prompt, images: list[Any], tokens: list[int]
    ) -> tuple[list[float], int]:
        sampling = {"temperature": 0.0, "max_tokens": 1, "prompt_logprobs": 0}
        reply = await self._call(prompt, images, sampling)
        read = list(reply.prompt_token_ids or ())
        if read[-len(tokens) :] != tokens:
            return [], len(read)
        found = reply.prompt_logprobs[-len(tokens) :]
        pairs = zip(found, tokens, strict=True)
        return [float(row[token].logprob) for row, token in pairs if row], len(read)

    async def _call(self, prompt: Prompt, images: list[Any], sampling: dict[str, Any]) -> Any:
        """The last of what vLLM says of a call; it gives up by itself what nobody waits for."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError

        given: dict[str, Any] = {"prompt_token_ids": prompt.ids}
        if images:
            given["multi_modal_data"] = {"image": images}
        async with self.one_call():
            params = SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, **sampling)
            last = None
            try:
                async for each in self.engine.generate(given, params, uuid.uuid4().hex):
                    last = each
            except EngineDeadError as exc:
                raise StoppedError(f"vLLM has died: {exc}") from exc
        if last is None:
            raise EngineError("request", "vLLM gave no answer", attempts=1)
        return last

    def _sampling(self, request: Request) -> dict[str, Any]:
        from vllm.sampling_params import StructuredOutputsParams

        given = {"max_tokens": None, **self.sampling(request)}  # vLLM's own default is 16
        if request.schema is not None:
            given["structured_outputs"] = StructuredOutputsParams(json=dict(request.schema))
        return given

    def _processors_template(self) -> str | None:
        """Models that see often bring their template with the processor."""
        from transformers import AutoProcessor

        args = self.given.args
        common = {key: args[key] for key in ("revision", "trust_remote_code") if key in args}
        processor = AutoProcessor.from_pretrained(self.given.model, **common)
        template: str | None = getattr(processor, "chat_template", None)
        return template


def read_template(template: str | None, name: str, base: Path) -> str | None:
    """A template as it is given, in Jinja, or as a file holds it. Raises ConfigError."""
    if template is None or "{" in template:
        return template
    try:
        return (base / Path(template).expanduser()).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        message = f"neither a template (Jinja) nor a file that holds one: {template}"
        raise ConfigError([Mistake(f"{name}.chat_template", message)]) from exc
