"""Owed records, one by one, for whoever is free: between the reader and the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator

from mirage.work.owed import Batch, BlockRun, Owed


class Feed:
    """Owed records, read in a thread one batch ahead. Made in a loop, where `supply` runs.

    Who finds none waits in line, and a batch that comes is handed out along the line at once.
    `settled` is called with a block that turns out to be owed nothing more.
    """

    def __init__(self, batches: Iterator[Batch], settled: Callable[[BlockRun], None]) -> None:
        self._batches = batches
        self._settled = settled
        self._ready: deque[Owed] = deque()
        self._line: deque[asyncio.Future[Owed | None]] = deque()
        self._wanted = asyncio.Event()
        self._reading = threading.Lock()
        self._ahead: asyncio.Task[Batch | None] | None = None
        self._ended = False

    async def take(self) -> Owed | None:
        """The next record that is owed; None at the end, or once the feed is stopped."""
        if self._ready:
            return self._ready.popleft()
        if self._ended:
            return None
        turn: asyncio.Future[Owed | None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        self._wanted.set()
        return await turn

    async def supply(self) -> None:
        """Bring batch after batch, until there are no more, or the feed is stopped."""
        self._read_ahead()
        while self._ahead is not None and (batch := await self._ahead) is not None:
            if self._ended:
                return
            self._read_ahead()
            self._hand_out(batch)
            if not self._line:
                self._wanted.clear()
            await self._wanted.wait()
        self._end()

    def _read_ahead(self) -> None:
        self._ahead = asyncio.create_task(asyncio.to_thread(self._read))

    def _read(self) -> Batch | None:
        with self._reading:
            return None if self._ended else next(self._batches, None)

    def _hand_out(self, batch: Batch) -> None:
        run = batch.run
        run.owed += len(batch.records)
        run.read = batch.last
        self._ready.extend(batch.records)
        while self._line and self._ready:
            if not (turn := self._line.popleft()).done():
                turn.set_result(self._ready.popleft())
        if run.read and not run.owed:
            self._settled(run)

    def stop(self) -> None:
        """Hand out nothing more."""
        self._ready.clear()
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._wanted.set()
        while self._line:
            if not (turn := self._line.popleft()).done():
                turn.set_result(None)

    async def close(self) -> None:
        """Returns when the thread reads no more, even where nobody waited for it any longer."""
        self.stop()
        await asyncio.to_thread(self._reading.acquire)
        self._reading.release()
        if self._ahead is not None:
            await asyncio.wait({self._ahead})
