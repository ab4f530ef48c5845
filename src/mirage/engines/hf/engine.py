"""Models of the Hugging Face kind in this process, through torch and transformers.

On a GPU, greedy text without a schema goes by continuous batching (`stream.py`), everything else
(pictures, schemas, draws, choices) by batches (`batches.py`). Prompts are made in one thread, each
way computes in another; the event loop only waits.
"""

from __future__ import annotations

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from mirage.config.models import EngineConfig
from mirage.engines.hf.config import Asked, Settings, asked, settings
from mirage.engines.thoughts import THINKS, spoken
from mirage.engines.window import AdaptiveWindow
from mirage.errors import ConfigError, EngineError, Mistake
from mirage.record import Abilities, Completion, Request, Window

if TYPE_CHECKING:
    from mirage.engines.hf.batches import Batches
    from mirage.engines.hf.grammar import Grammars
    from mirage.engines.hf.load import Loaded
    from mirage.engines.hf.prompt import Prompt, Prompts
    from mirage.engines.hf.rows import Row
    from mirage.engines.hf.stream import Stream


class TransformersEngine:
    """`args`: `device`, `dtype`, `trust_remote_code`, `attn_implementation`, `revision`, `context`
    (the most tokens of prompt and answer), `batch` (sequences generated together), `continuous`
    (continuous batching for greedy text), and for that `num_blocks` and `max_batch_tokens`.
    """

    def __init__(self, config: EngineConfig, *, name: str, base: Path) -> None:
        self._given: Settings = settings(config, name, base)
        self._name = name
        self.capacity = self._given.in_flight
        self._window = AdaptiveWindow(self.capacity, rpm=config.rpm, tpm=config.tpm)
        self.window: Window = self._window
        self.abilities = Abilities(images=self._given.sees, schema=True, choices=True)
        self.details: dict[str, Any] = {"model": Path(self._given.model).name}
        self._preparing = ThreadPoolExecutor(1, thread_name_prefix="prompts")
        self._closed = False
        self._stream: Stream | None = None
        self._batches: Batches | None = None

    async def start(self) -> None:
        """Load the model, in a thread; whatever else runs goes on."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._preparing, self._load)

    async def complete(self, request: Request) -> Completion:
        began = time.perf_counter()
        batches = self._batches
        assert batches is not None, "start() comes first"
        loop, speaker = asyncio.get_running_loop(), self._loaded.tokenizer
        batches.coming += 1
        try:
            prompt, rows = await loop.run_in_executor(self._preparing, self._prepare, request)
        finally:
            batches.coming -= 1
        if self._streams(rows):
            await self._flow(rows[0])
        else:
            await batches.answer(rows)
        if request.choices:
            completion = _chosen(request, rows, began)
        else:
            completion = _said(speaker, prompt, rows[0], began)
        self._window.answered(completion.prompt_tokens + completion.completion_tokens)
        return completion

    async def close(self) -> None:
        """End what is under way, at the next token, and give the memory back."""
        self._closed = True
        if self._stream is not None:
            await self._stream.close()
        if self._batches is not None:
            await self._batches.close()
        await asyncio.to_thread(self._preparing.shutdown)
        loaded, self._stream, self._batches = self._batches is not None, None, None
        if loaded:
            self._forget()

    def _load(self) -> None:
        from mirage.engines.hf.batches import Batches
        from mirage.engines.hf.grammar import Grammars
        from mirage.engines.hf.load import load
        from mirage.engines.hf.prompt import Prompts
        from mirage.engines.hf.stream import Stream

        given = self._given
        self._loaded: Loaded = load(given)
        model, tokenizer = self._loaded.model, self._loaded.tokenizer
        try:
            self._prompts: Prompts = Prompts(
                tokenizer, self._loaded.processor, given.template, given.options
            )
        except ConfigError as error:
            where = f"{self._name}.chat_template"
            raise ConfigError([Mistake(where, m.message) for m in error.mistakes]) from error
        self._grammars: Grammars = Grammars(
            tokenizer, self._loaded.vocabulary, tokenizer.eos_token_id
        )
        self._batches = Batches(model, self._loaded.pad, given.batch)
        on_gpu = self._loaded.device.type == "cuda"  # on a CPU it is slower than batches are
        if self._loaded.processor is None and given.args.get("continuous", on_gpu):
            self._stream = Stream(self._loaded, given)
        sees = self._loaded.processor is not None
        self.abilities = Abilities(images=sees, schema=True, choices=True)
        dtype = str(model.dtype).removeprefix("torch.")
        self.details |= {"device": str(model.device), "dtype": dtype}
        self.details |= {"context": self._loaded.context, "batch": given.batch}

    def _prepare(self, request: Request) -> tuple[Prompt, list[Row]]:
        from mirage.engines.hf.rows import Row

        if self._closed:
            raise EngineError("closed", "the engine was closed", attempts=1)
        how = asked(request)
        prompt = self._prompts.build(request.messages)
        room = self._loaded.context - len(prompt.ids)
        if request.choices and prompt.opening:
            raise EngineError("choices", THINKS, attempts=1)
        forced = [self._prompts.choice(choice) for choice in request.choices]
        needed = max(map(len, forced), default=1)
        if room < needed:
            message = f"{len(prompt.ids)} tokens, and the context has {self._loaded.context}"
            raise EngineError("too_long", message, attempts=1)
        matcher = None
        if request.schema is not None and not forced:
            matcher = self._grammars.matcher(request.schema)
        ends = frozenset[int]() if how.ignore_eos else self._loaded.ends

        def row(tokens: list[int]) -> Row:
            return Row(
                ids=prompt.ids,
                asked=_within(how, room),
                ends=ends,
                extras=prompt.extras,
                matcher=matcher,
                forced=tokens,
                timeout=self._given.timeout,
            )

        return prompt, [row(tokens) for tokens in forced or [[]]]

    def _streams(self, rows: list[Row]) -> bool:
        row = rows[0]
        if self._stream is None or row.extras or row.matcher or row.forced or row.drawn:
            return False
        return len(row.ids) + row.asked.limit <= self._stream.room

    async def _flow(self, row: Row) -> None:
        """Where the stream cannot do it (a model that has no paged attention, say), batches can."""
        stream, batches = self._stream, self._batches
        assert stream is not None and batches is not None
        try:
            written = await stream.answer(row.ids, row.asked.limit, sorted(row.ends))
        except EngineError as error:
            if error.kind != "generation":
                raise
            await batches.answer([row])
            return
        row.finish = "stop" if written and written[-1] in row.ends else "length"
        row.written = written[:-1] if row.finish == "stop" else written

    def _forget(self) -> None:
        import torch

        del self._loaded, self._prompts, self._grammars
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _within(how: Asked, room: int) -> Asked:
    """An answer has at most the room that the prompt leaves."""
    return replace(how, limit=min(how.limit, room))


def _said(speaker: Any, prompt: Prompt, row: Row, began: float) -> Completion:
    text = spoken(prompt.opening + speaker.decode(row.written, skip_special_tokens=True))
    seconds = time.perf_counter() - began
    return Completion(text, row.finish, len(row.ids), len(row.written), seconds)


def _chosen(request: Request, rows: list[Row], began: float) -> Completion:
    logprobs = tuple(row.logprob for row in rows)
    best = max(range(len(rows)), key=logprobs.__getitem__)
    return Completion(
        text=request.choices[best],
        prompt_tokens=len(rows[0].ids),
        completion_tokens=sum(len(row.forced) for row in rows),
        seconds=time.perf_counter() - began,
        logprobs=logprobs,
    )
