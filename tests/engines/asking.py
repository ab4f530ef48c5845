"""Short ways to say what the tests of engines say again and again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mirage.config.models import EngineConfig
from mirage.engines import open_engine
from mirage.record import Completion, Engine, Message, Part, Picture, Request

COLOUR = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "sure": {"type": "boolean"}},
    "required": ["colour", "sure"],
    "additionalProperties": False,
}


def user(*parts: Part) -> Message:
    return Message("user", parts)


def picture(data: bytes, media_type: str = "image/png") -> Picture:
    return Picture(data, media_type, "digest of the original")


def request(*parts: Part, schema: Any = None, draw: str = "", **sampling: Any) -> Request:
    return Request("m", (user(*parts),), {"temperature": 0.0, **sampling}, schema, draw)


def endpoint(base_url: str, **keys: Any) -> Engine:
    config = EngineConfig(model_path="fake", base_url=base_url, **{"timeout": 10.0, **keys})
    return open_engine(config, backend="openai", name="engine", base=Path())


async def ask(engine: Engine, *requests: Request) -> list[Completion | BaseException]:
    """Start, ask all at once, close: completions and errors in the order of the requests."""

    async def one(each: Request) -> Completion:
        async with engine.window:
            return await engine.complete(each)

    await engine.start()
    try:
        return await asyncio.gather(*map(one, requests), return_exceptions=True)
    finally:
        await engine.close()


def answers(engine: Engine, *requests: Request) -> list[Completion]:
    """The completions, where nothing may fail."""
    found = asyncio.run(ask(engine, *requests))
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if isinstance(each, Completion)]


def failure(engine: Engine, *requests: Request) -> BaseException:
    """The one error of a request that must fail."""
    (found,) = asyncio.run(ask(engine, *requests))
    assert isinstance(found, BaseException), found
    return found
