"""Batches of `generate()`: for pictures, schemas, draws and choices, which each row wants its own
way of.

Rows that wait are taken together when the batch before is done, one thread computes, and a batch
that fails is halved until the row is found that it fails for: out of memory, smaller batches go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from transformers import GenerationConfig

from mirage.engines.hf.load import is_scarce
from mirage.engines.hf.rows import Chooser, Ender, Row
from mirage.errors import EngineError, boundary

LINGER = 0.005
CLOSED = "the engine was closed"
PER_TOKEN = frozenset({"token_type_ids", "mm_token_type_ids"})


class Batches:
    """`most` rows at a time; `pad` is the token that fills rows up, from the left.

    `coming` counts requests that are being prepared: a batch waits for them while it has room.
    """

    def __init__(self, model: Any, pad: int, most: int) -> None:
        self._model, self._pad = model, pad
        self.most = most
        self.coming = 0
        self._closed = False
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._running: list[Row] = []
        self._pump: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transformers")

    async def answer(self, rows: Sequence[Row]) -> None:
        """Returns when all rows are done; raises the EngineError of the first that failed."""
        if self._closed:
            raise EngineError("closed", CLOSED, attempts=1)
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in rows]
        self._waiting += zip(rows, futures, strict=True)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run())
        try:
            for future in futures:
                await future
        except asyncio.CancelledError:
            for row in rows:
                row.unwanted = True
            raise
        for row in rows:
            if row.fault is not None:
                raise row.fault

    async def close(self) -> None:
        """End the batch under way at its next token, then the thread."""
        self._closed = True
        for row in [*self._running, *(row for row, _ in self._waiting)]:
            row.unwanted = True
        if self._pump is not None:
            await self._pump
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self._model = None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            while self.coming and len(self._waiting) < self.most:
                await asyncio.sleep(LINGER)
            batch = self._next()
            self._running = [row for row, _ in batch]
            await loop.run_in_executor(self._thread, self._compute, self._running)
            for row, future in batch:
                if not future.done():
                    if row.unwanted and row.fault is None:
                        row.fault = EngineError("closed", CLOSED, attempts=1)
                    future.set_result(None)
        self._running = []

    def _next(self) -> list[tuple[Row, asyncio.Future[None]]]:
        """The longest waiting row, and others that it can share a batch with."""
        kind = sorted(self._waiting[0][0].extras)
        batch = [pair for pair in self._waiting if sorted(pair[0].extras) == kind][: self.most]
        taken = {id(row) for row, _ in batch}
        self._waiting = [pair for pair in self._waiting if id(pair[0]) not in taken]
        return batch

    def _compute(self, rows: Sequence[Row]) -> None:
        rows = [row for row in rows if not row.unwanted]
        if not rows:
            return
        try:
            with boundary(EngineError, "generation"):
                self._generate(rows)
            return
        except EngineError as error:
            scarce = is_scarce(str(error))
            if len(rows) == 1:
                kind = "out_of_memory" if scarce else error.kind
                rows[0].fault = EngineError(kind, error.message, attempts=1)
                return
        # outside the handler: the error holds on to the memory of the batch that failed
        half = len(rows) // 2
        if scarce:
            self.most = max(1, min(self.most, half))
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self._compute(rows[:half])
        self._compute(rows[half:])

    def _generate(self, rows: Sequence[Row]) -> None:
        for row in rows:
            row.begin()
            if row.state is not None and row.state.is_error():
                raise EngineError("schema", row.state.get_error(), attempts=1)
        device = self._model.device
        inputs = {key: value.to(device) for key, value in padded(rows, self._pad).items()}
        floats = self._model.dtype
        inputs = {k: v.to(floats) if v.is_floating_point() else v for k, v in inputs.items()}
        most = max(len(row.forced) or row.asked.limit for row in rows)
        config = GenerationConfig(
            do_sample=False, max_new_tokens=most, pad_token_id=self._pad, eos_token_id=None
        )
        with torch.inference_mode():
            self._model.generate(
                **inputs,
                generation_config=config,
                logits_processor=[Chooser(rows)],
                stopping_criteria=[Ender(rows)],
            )


def padded(rows: Sequence[Row], pad: int) -> dict[str, torch.Tensor]:
    """The rows as one batch, filled up from the left; pictures one after the other."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row.ids) :] = torch.tensor(row.ids)
        mask[i, width - len(row.ids) :] = 1
    batch = {"input_ids": ids, "attention_mask": mask}
    for key in rows[0].extras:
        batch[key] = joined(key, [row.extras for row in rows], width)
    return batch


def joined(key: str, extras: Sequence[Mapping[str, torch.Tensor]], width: int) -> torch.Tensor:
    """One tensor out of the rows' own, along the first dimension.

    Where the others differ (in the number of pictures, say), they are filled up with zeros, as the
    models' own processors do.
    """
    tensors = [each[key] for each in extras]
    if key in PER_TOKEN:
        return torch.cat([torch.nn.functional.pad(t, (width - t.shape[1], 0)) for t in tensors])
    sizes = [max(t.shape[d] for t in tensors) for d in range(1, tensors[0].dim())]
    filled = []
    for tensor in tensors:
        rest = [size - now for size, now in zip(sizes, tensor.shape[1:], strict=True)]
        sides = [side for more in reversed(rest) for side in (0, more)]
        filled.append(torch.nn.functional.pad(tensor, sides) if any(rest) else tensor)
    return torch.cat(filled)
