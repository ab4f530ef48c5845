"""Images by URL, brought here before their record's first step: in threads, a few from one host.

From then on such an image is a file like any other, for the steps, for assembly and for later runs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mirage.errors import Drop, RunError
from mirage.media.fetch import DeadError
from mirage.media.web import Web, filled, host, url_of
from mirage.record import Image

THREADS = 32


class Fetching:
    """What is being fetched by one event loop; equal URLs under way are fetched once."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self._threads = ThreadPoolExecutor(THREADS, "mirage-fetch")
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._waiting: Counter[str] = Counter()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def bring(self, values: dict[str, Any], ask_leave: Callable[[], None]) -> None:
        """See to it that all images among a record's values are here.

        `ask_leave` raises where nothing may be begun any more. A dead image raises Drop, or turns
        its value into None, where the configuration says so. Raises MediaError, and RunError where
        nothing can be kept.
        """
        wanted = {name: urls for name, value in values.items() if (urls := absent(value))}
        if not wanted:
            return
        every = [url for urls in wanted.values() for url in urls]
        ends = await asyncio.gather(
            *(self._once(url, ask_leave) for url in every), return_exceptions=True
        )
        errors = {url: end for url, end in zip(every, ends, strict=True) if end is not None}
        for name, urls in wanted.items():
            for error in (errors[url] for url in urls if url in errors):
                if isinstance(error, DeadError) and self.web.dead == "drop":
                    raise Drop(f"dead image: {name}")
                alone = isinstance(values[name], Image)
                if not (isinstance(error, DeadError) and self.web.dead == "none" and alone):
                    raise error
                values[name] = None

    async def _once(self, url: str, ask_leave: Callable[[], None]) -> None:
        task = self._under_way.get(url)
        if task is None:
            task = self._under_way[url] = asyncio.create_task(self._fetch(url, ask_leave))
            task.add_done_callback(lambda done: self._over(url, done))
        await asyncio.shield(task)  # others may wait for it, too

    def _over(self, url: str, done: asyncio.Task[None]) -> None:
        del self._under_way[url]
        if not done.cancelled():
            done.exception()  # seen: whoever waited may have been cancelled

    async def _fetch(self, url: str, ask_leave: Callable[[], None]) -> None:
        place = host(url)
        turn = self._turns.setdefault(place, asyncio.Semaphore(self.web.per_host))
        self._waiting[place] += 1
        try:
            async with turn:
                ask_leave()
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._threads, self.web.fetch, url, ask_leave)
        except OSError as exc:
            raise RunError(f"{self.web.cache} cannot be written to: {exc}") from exc
        finally:
            self._waiting[place] -= 1
            if not self._waiting[place]:
                del self._waiting[place], self._turns[place]


def absent(value: Any) -> list[str]:
    """The URLs of the images in a value that are not here yet."""
    if isinstance(value, Image):
        url = url_of(value)
        return [url] if url is not None and not filled(value.path or "") else []
    if isinstance(value, tuple):
        return [url for item in value for url in absent(item)]
    return []
