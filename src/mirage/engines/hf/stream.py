"""Continuous batching: greedy text, where a sequence joins and leaves whenever it likes.

transformers' own manager does it, in a thread of its own. It makes no draws of a row's own, keeps
to no schema and takes no pictures: these go by `batches.py`. Its cache is made once, from the
memory that is free, and its attention reads that cache, so it works on a twin of the model: the
same weights under other settings.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import logging
import math
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from mirage.engines.hf.config import Settings
from mirage.engines.hf.load import Loaded, is_scarce
from mirage.errors import EngineError

RESTARTS = 3
WATCH = 0.2
BLOCK, BLOCK_CUDA = 32, 256
MOST_TOKENS_CPU = 16_384
SHARE_CPU, SHARE_CUDA = 0.25, 0.7
STEP_CPU, STEP_CUDA = 256, 2048


class Stream:
    """`room` is how many tokens the cache holds, of all sequences together."""

    def __init__(self, loaded: Loaded, given: Settings) -> None:
        self._twin = paged_twin(loaded.model)
        self._pad, self._timeout = loaded.pad, given.timeout
        self._cuda = loaded.device.type == "cuda"
        self._block = BLOCK_CUDA if self._cuda else BLOCK
        step = STEP_CUDA if self._cuda else STEP_CPU
        self._step = given.args.get("max_batch_tokens") or max(step, given.in_flight)
        wanted = given.in_flight * loaded.context
        self._blocks = given.args.get("num_blocks") or self._affordable(loaded, wanted)
        self._manager: Any = None
        self._calls: set[asyncio.Future[Any]] = set()
        self._names = itertools.count()
        logging.getLogger("ContinuousBatchingLogger").setLevel(logging.CRITICAL + 1)

    @property
    def room(self) -> int:
        return int(self._blocks * self._block)

    async def answer(self, ids: Sequence[int], limit: int, ends: Sequence[int]) -> list[int]:
        """The tokens that the model writes, the ending one included. Raises EngineError."""
        for _ in range(RESTARTS):
            manager = self._running()
            result = await self._once(manager, ids, limit, ends)
            if not result.error:
                return list(result.generated_tokens)
            await self._restart(manager, result.error)
        raise EngineError("generation", str(result.error), attempts=RESTARTS)

    async def close(self) -> None:
        for call in self._calls:
            call.set_exception(EngineError("closed", "the engine was closed", attempts=1))
        manager, self._manager, self._twin = self._manager, None, None
        if manager is not None:
            await asyncio.to_thread(manager.stop)

    async def _once(self, manager: Any, ids: Sequence[int], limit: int, ends: Sequence[int]) -> Any:
        name = str(next(self._names))
        done = asyncio.get_running_loop().create_future()
        self._calls.add(done)

        def deliver(result: Any) -> None:
            if not done.done():
                done.set_result(result)

        manager.register_result_handler(name, deliver)
        manager.add_request([*ids], name, max_new_tokens=limit, eos_token_id=[*ends] or [-1])
        result = None
        try:
            result = await asyncio.wait_for(done, self._timeout)
        except TimeoutError as exc:
            message = f"no answer within {self._timeout:g} s"
            raise EngineError("timeout", message, attempts=1) from exc
        finally:
            self._calls.discard(done)
            if result is None:
                manager.cancel_request(name)
        return result

    def _running(self) -> Any:
        if self._twin is None:
            raise EngineError("closed", "the engine was closed", attempts=1)
        if self._manager is None:
            greedy = GenerationConfig(
                do_sample=False, max_new_tokens=1, eos_token_id=-1, pad_token_id=self._pad
            )
            # neither two steps at once nor recorded graphs: both were never run on hardware here
            shape = ContinuousBatchingConfig(
                page_size=self._block,
                num_blocks=self._blocks,
                max_batch_tokens=self._step,
                use_async_batching=False,
                use_cuda_graph=False,
            )
            self._manager = self._twin.init_continuous_batching(
                generation_config=greedy, continuous_batching_config=shape
            )
            self._manager.start()
            watched = weakref.ref(self._manager)
            threading.Thread(target=_end_with_main, args=(watched,), daemon=True).start()
        return self._manager

    async def _restart(self, failed: Any, error: str) -> None:
        """A fault ends the manager with all that was under way; the next one has less memory."""
        if self._manager is not failed:
            return
        self._manager = None
        if is_scarce(error):
            self._blocks = max(1, self._blocks // 2)
        await asyncio.to_thread(failed.stop)

    def _affordable(self, loaded: Loaded, wanted: int) -> int:
        """Blocks for `wanted` tokens, or for as many as there is memory for."""
        share = SHARE_CUDA if self._cuda else SHARE_CPU
        memory = share * free_memory(loaded.device)
        tokens = min(wanted, memory // bytes_per_token(loaded.model))
        if not self._cuda:
            tokens = min(tokens, MOST_TOKENS_CPU)
        return max(1, math.ceil(tokens / self._block))


def _end_with_main(watched: weakref.ref[Any]) -> None:
    """The manager's thread would keep a process that never closed its engine from ending."""
    main = threading.main_thread()
    while (manager := watched()) is not None and manager.is_running():
        if not main.is_alive():
            manager.stop(block=False)
            return
        del manager
        main.join(WATCH)


def paged_twin(model: Any) -> Any:
    """Another model object over the same weights."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def bytes_per_token(model: Any) -> int:
    """What the cache keeps of one token: keys and values of each layer."""
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = getattr(config, "num_key_value_heads", None) or heads
    return int(2 * config.num_hidden_layers * kept * width * model.dtype.itemsize)


def free_memory(device: torch.device) -> int:
    """Bytes that could be used, on the device or of the machine."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as file:  # noqa: PTH123
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return 4 << 30
