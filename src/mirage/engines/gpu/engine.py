"""What SGLang and vLLM have in common, in this process: a prompt is built, a call made and timed.

Prompts are built in one thread of their own, with a tokenizer of their own: a tokenizer has state,
and the engine uses its own beside the event loop.
"""

from __future__ import annotations

import asyncio
import copy
import re
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mirage.config.models import EngineConfig
from mirage.engines.gpu.config import Kind, settings
from mirage.engines.gpu.prompt import Prompt, Prompts, Turns
from mirage.engines.pixels import upright
from mirage.engines.thoughts import spoken
from mirage.engines.window import AdaptiveWindow
from mirage.errors import EngineError, MirageError, RunError, boundary
from mirage.record import Abilities, Completion, Request, Window

TOO_LONG = re.compile(r"context length|maximum model length|max_model_len", re.IGNORECASE)


class GpuEngine(ABC):
    """Subclasses load the engine and translate one call; `args` are the engine's own."""

    kind: Kind

    def __init__(self, config: EngineConfig, *, name: str, base: Path) -> None:
        self.given = settings(config, self.kind, name=name, base=base)
        self.capacity = self.given.capacity
        self._window = AdaptiveWindow(self.capacity, rpm=config.rpm, tpm=config.tpm)
        self.window: Window = self._window
        self.abilities = Abilities(images=True, schema=True, choices=True)
        self.details: dict[str, Any] = {"model": config.model_path, "engine": self.kind.package}
        self.engine: Any = None
        self._builder = ThreadPoolExecutor(1, thread_name_prefix="prompts")

    async def start(self) -> None:
        """Load the model: minutes for a large one, during which nothing else runs, since SGLang
        insists on the main thread. Raises RunError.
        """
        try:
            self.engine, version = self.load()
            self.details["version"] = version
            tokenizer = copy.deepcopy(self.tokenizer())
            self.prompts = Prompts(tokenizer, self.renderer(tokenizer))
            sees = self.sees() and self.prompts.images
        except (Exception, SystemExit) as exc:
            await self.close()
            why = exc if isinstance(exc, MirageError) else f"{type(exc).__name__}: {exc}"
            raise RunError(f"{self.kind.title} cannot load {self.given.model}: {why}") from exc
        self.abilities = Abilities(images=sees, schema=True, choices=True)

    async def complete(self, request: Request) -> Completion:
        pictures = [picture for message in request.messages for picture in message.pictures]
        if pictures and not self.abilities.images:
            raise EngineError("images", "this model takes no images", attempts=1)
        loop, messages = asyncio.get_running_loop(), request.messages
        prompt = await loop.run_in_executor(self._builder, self.prompts.build, messages)
        images = [await asyncio.to_thread(upright, picture) for picture in pictures]
        began = time.perf_counter()
        if request.choices:
            answer = await self.choose(prompt, images, request.choices)
        else:
            answer = await self.answer(prompt, images, request)
            answer = replace(answer, text=spoken(prompt.opening + answer.text))
        self._window.answered(answer.prompt_tokens + answer.completion_tokens)
        return replace(answer, seconds=time.perf_counter() - began)

    async def close(self) -> None:
        self._builder.shutdown(wait=False, cancel_futures=True)
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.shutdown()

    async def choose(
        self, prompt: Prompt, images: list[Any], choices: tuple[str, ...]
    ) -> Completion:
        """How likely each choice is: the sum over its tokens, read at the end of the prompt."""
        scores, read = list[float](), 0
        for choice in choices:
            loop = asyncio.get_running_loop()
            tokens = await loop.run_in_executor(self._builder, self.prompts.choice, choice)
            found, count = await self.score(prompt.followed_by(choice, tokens), images, tokens)
            if len(found) != len(tokens):
                message = f"{self.kind.title} read the choice as other tokens"
                raise EngineError("choices", message, attempts=1)
            scores.append(sum(found))
            read += count
        best = choices[max(range(len(choices)), key=scores.__getitem__)]
        return Completion(best, prompt_tokens=read, logprobs=tuple(scores))

    def sampling(self, request: Request) -> dict[str, Any]:
        """What the engine's sampling parameters are made of, under our names; null is left out."""
        given = {"temperature": 0.0, **request.sampling, **self.given.extra}
        if request.seed is not None:
            given["seed"] = request.seed
        return {key: value for key, value in given.items() if value is not None}

    @asynccontextmanager
    async def one_call(self, abort: Callable[[], Any] = lambda: None) -> AsyncIterator[None]:
        """A call that takes too long, or that nobody waits for any more, ends in the engine too."""
        limit = self.given.config.timeout
        try:
            async with asyncio.timeout(limit):
                with boundary(EngineError, "request"):
                    yield
        except EngineError as error:
            if error.kind == "request" and TOO_LONG.search(error.message):
                error.kind = "too_long"
            error.attempts = 1
            raise
        except TimeoutError as exc:
            abort()
            raise EngineError("timeout", f"no answer within {limit:g} s", attempts=1) from exc
        except asyncio.CancelledError:
            abort()
            raise

    @abstractmethod
    def load(self) -> tuple[Any, str]:
        """The engine, and its version."""

    @abstractmethod
    def tokenizer(self) -> Any: ...

    @abstractmethod
    def sees(self) -> bool:
        """Whether the model takes images."""

    @abstractmethod
    def renderer(self, tokenizer: Any) -> Callable[[Turns], str]: ...

    @abstractmethod
    async def answer(self, prompt: Prompt, images: list[Any], request: Request) -> Completion: ...

    @abstractmethod
    async def score(
        self, prompt: Prompt, images: list[Any], tokens: list[int]
    ) -> tuple[list[float], int]:
        """The log-probabilities of the prompt's last tokens, where these are `tokens`, and how many
        tokens were read.
        """


def template_renderer(
    tokenizer: Any, options: Mapping[str, Any], template: str | None = None
) -> Callable[[Turns], str]:
    """The tokenizer's own chat template, or another one."""
    given = dict(options) if template is None else {**options, "chat_template": template}

    def render(turns: Turns) -> str:
        shown: str = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, **given
        )
        return shown

    return render
