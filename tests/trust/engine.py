"""An engine that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from mirage.engines.window import AdaptiveWindow
from mirage.errors import EngineError
from mirage.record import Abilities, Completion, Part, Request, Window


class Scripted:
    """`answers` by the prompt's text: None fails, and what is not among them is echoed.

    `slow` gives the seconds that a prompt takes. `on_call` is called with the number of each call,
    from 1, before it is answered.
    """

    def __init__(
        self, answers: Mapping[str, str | None] | None = None, *, capacity: int = 8
    ) -> None:
        self.answers = dict(answers or {})
        self.slow: dict[str, float] = {}
        self.on_call: Callable[[int], None] = lambda number: None
        self.asked: Counter[str] = Counter()
        self.order: list[str] = []
        self.capacity = capacity
        self.window: Window = AdaptiveWindow(capacity)
        self.abilities = Abilities(images=True, schema=True)

    async def start(self) -> None:
        self.window = AdaptiveWindow(self.capacity)

    async def complete(self, request: Request) -> Completion:
        prompt = request.messages[0].text
        self.asked[prompt] += 1
        self.on_call(self.asked.total())
        await asyncio.sleep(self.slow.get(prompt, 0))
        self.order.append(prompt)
        answer = self.answers.get(prompt, f"<{prompt}>")
        if answer is None:
            raise EngineError("scripted", f"no answer to {prompt}", attempts=1)
        return Completion(answer)

    async def close(self) -> None:
        """Nothing to release."""


class Seeing(Scripted):
    """Remembers the digests of the pictures of each request."""

    def __init__(self, **abilities: Any) -> None:
        super().__init__()
        self.abilities = Abilities(images=True, schema=True, **abilities)
        self.saw: list[list[str]] = []
        self.parts: list[list[Part]] = []

    async def complete(self, request: Request) -> Completion:
        self.parts.append([part for message in request.messages for part in message.parts])
        self.saw.append([p.digest for m in request.messages for p in m.pictures])
        return await super().complete(request)
