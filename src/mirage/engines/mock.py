"""The fake engine behind an HTTP endpoint, with faults on demand: for trials, tests, benchmarks.

    POST .../chat/completions    answers as `fake.py` does
    GET  .../models              one model, "fake"
    GET  /stats                  counters; /stats?prompts=1 adds calls and answers per prompt

It speaks just enough HTTP/1.1 for that (keep-alive, Content-Length) and nothing else. Faults are a
function of the seed, the prompt and how often it was asked: the order of arrival does not matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import asdict

from mirage.engines import chat, fake
from mirage.engines.mock_http import Connection, Reply, error
from mirage.record import Message

LETTERED = re.compile(r"^([A-Z])\. ", re.MULTILINE)


class Behaviour(Struct, frozen=True):
    """What the server does. Times in seconds; shares between 0 and 1."""

    latency: float = 0.0
    jitter: float = 0.0
    share_429: float = 0.0
    retry_after: int = 0
    share_500: float = 0.0
    malformed: float = 0.0
    """The share of answers whose text is cut in half."""
    malformed_body: float = 0.0
    """The share of replies that are not JSON at all."""
    hang: float = 0.0
    """The share of calls that are never answered."""
    seed: int = 0
    api_key: str | None = None
    """Any other key is answered with 401."""
    random: bool = False
    """Another answer to every call, as a model at temperature 1 gives."""
    ignore_schema: bool = False
    ignore_logprobs: bool = False
    limit: int = 0
    """More calls than this under way at once are answered with 429; 0: no limit."""
    limit_for: float = 0.0
    """The limit holds for so many seconds after the first call; 0: for good."""


class Stats(Struct):
    calls: int = 0
    answered: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    faults: int = 0
    refused: int = 0
    limited: int = 0
    connections: int = 0
    prompts: dict[str, list[int]] = {}
    """Per hash of a request's body: how often it was asked, and how often answered."""

    def counters(self) -> dict[str, Any]:
        shown = {key: value for key, value in asdict(self).items() if key != "prompts"}
        asked = [calls for calls, _ in self.prompts.values()]
        return {**shown, "distinct": len(asked), "repeated": sum(n > 1 for n in asked)}


class MockServer:
    """Behaviour and counters, shared by all connections."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.stats = Stats()
        self.base_url = ""
        self._first = 0.0

    def connected(self) -> None:
        self.stats.connections += 1

    def entered(self) -> None:
        self.stats.in_flight += 1
        self.stats.max_in_flight = max(self.stats.max_in_flight, self.stats.in_flight)

    def left(self) -> None:
        self.stats.in_flight -= 1

    def get(self, path: str) -> Reply:
        route, _, query = path.partition("?")
        if route == "/stats":
            prompts = {"prompts": self.stats.prompts} if "prompts=1" in query else {}
            return Reply(200, orjson.dumps({**self.stats.counters(), **prompts}))
        if route.endswith("/models"):
            return Reply(200, b'{"object":"list","data":[{"id":"fake","object":"model"}]}')
        return error(404, f"no {route} here")

    def chat(self, body: bytes, key: str) -> tuple[Reply | None, float]:
        """The reply to one call, None for never, and the seconds to wait before it is sent."""
        will, stats = self.behaviour, self.stats
        if will.api_key is not None and key != f"Bearer {will.api_key}":
            stats.refused += 1
            return error(401, f"Incorrect API key provided: {key.removeprefix('Bearer ')}"), 0.0
        stats.calls += 1
        if self._over_limit():
            stats.limited += 1
            return busy(will.retry_after), 0.0
        name = hashlib.blake2b(body, digest_size=8).hexdigest()
        counts = stats.prompts.setdefault(name, [0, 0])
        counts[0] += 1
        rng = random.Random(f"{will.seed}/{name}/{counts[0]}")
        wait = max(0.0, will.latency + will.jitter * rng.uniform(-1, 1))
        fault = self._fault(rng)
        if fault == "hang":
            return None, 0.0
        if fault == "429":
            return busy(will.retry_after), wait
        if fault == "500":
            return error(500, "The server had an error"), wait
        reply = self._answer(body, rng, cut=fault == "malformed")
        if fault == "malformed_body":
            return Reply(200, reply.body[: len(reply.body) * 2 // 3]), wait
        counts[1] += reply.status == 200
        stats.answered += reply.status == 200
        return reply, wait

    def _over_limit(self) -> bool:
        """Whether this call, which counts as under way, is one too many."""
        will, now = self.behaviour, time.monotonic()
        self._first = self._first or now
        lifted = will.limit_for and now - self._first > will.limit_for
        return bool(will.limit and not lifted and self.stats.in_flight > will.limit)

    def _fault(self, rng: random.Random) -> str:
        will = self.behaviour
        draw = rng.random()
        for fault, share in (
            ("hang", will.hang),
            ("429", will.share_429),
            ("500", will.share_500),
            ("malformed_body", will.malformed_body),
            ("malformed", will.malformed),
        ):
            draw -= share
            if draw < 0:
                self.stats.faults += 1
                return fault
        return ""

    def _answer(self, body: bytes, rng: random.Random, *, cut: bool) -> Reply:
        try:
            call = orjson.loads(body)
            messages = chat.from_wire(call["messages"])
            wanted = (call.get("response_format") or {}).get("json_schema", {}).get("schema")
            draw = str(rng.random()) if self.behaviour.random else ""
            draw = draw or fake.draw_of(call, call.get("seed"))
        except (ValueError, LookupError, TypeError, AttributeError) as exc:
            return error(400, f"bad request: {type(exc).__name__}: {exc}")
        schema = None if self.behaviour.ignore_schema else wanted
        text = fake.answer(messages, schema, fake.digest_of(messages, draw))
        told: dict[str, Any] = {}
        if call.get("logprobs") and not self.behaviour.ignore_logprobs:
            text, told = lettered(messages, text, int(call.get("top_logprobs") or 0))
        text = text[: len(text) // 2] if cut else text
        asked, said = sum(len(m.text.split()) for m in messages), len(text.split())
        usage = {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop", **told}
        reply = {"id": "fake", "object": "chat.completion", "model": call.get("model")}
        return Reply(200, orjson.dumps({**reply, "choices": [choice], "usage": usage}))


def busy(retry_after: int) -> Reply:
    header = f"Retry-After: {retry_after}\r\n" if retry_after else ""
    return error(429, "Rate limit reached", "rate_limit_exceeded", header)


def lettered(messages: Sequence[Message], text: str, top: int) -> tuple[str, dict[str, Any]]:
    """The answer of a model that is asked for one of several letters, with log-probabilities: one
    token, the likeliest letter. Any other question is answered with `text`, as one token.
    """
    letters = LETTERED.findall(fake.question(messages))
    words = letters or [text]
    told = sorted(zip(fake.scores(messages, words), words, strict=True), reverse=True)
    tokens = [{"token": word, "logprob": logprob, "bytes": None} for logprob, word in told]
    content = [{**tokens[0], "top_logprobs": tokens[:top]}]
    return told[0][1], {"logprobs": {"content": content}}


async def _serve(server: MockServer, host: str, port: int, started: threading.Event) -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(server), host, port, backlog=4096)
    address = listening.sockets[0].getsockname()
    server.base_url = f"http://{address[0]}:{address[1]}/v1"
    started.set()
    async with listening:
        await asyncio.Event().wait()


def serve(
    behaviour: Behaviour, *, host: str = "127.0.0.1", port: int = 8080, as_json: bool = False
) -> None:
    """Serve until SIGINT or SIGTERM, and print where. Raises OSError where the port is taken."""

    async def until_stopped() -> None:
        server, started = MockServer(behaviour), threading.Event()
        task = asyncio.create_task(_serve(server, host, port, started))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        while not (started.is_set() or task.done()):
            await asyncio.sleep(0.01)
        if started.is_set():
            where = f"fake endpoint at {server.base_url}; counters at /stats"
            if as_json:
                where = orjson.dumps({"base_url": server.base_url, "pid": os.getpid()}).decode()
            print(where, flush=True)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(until_stopped())


@contextlib.contextmanager
def running(behaviour: Behaviour | None = None, *, port: int = 0) -> Iterator[MockServer]:
    """The server in a thread of this process, for as long as the block lasts.

    Raises OSError where the port is taken.
    """
    server, started = MockServer(behaviour or Behaviour()), threading.Event()
    loop = asyncio.new_event_loop()
    task = loop.create_task(_serve(server, "127.0.0.1", port, started))

    def run() -> None:
        try:
            loop.run_until_complete(asyncio.wait([task]))
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=run, name="mock-server", daemon=True)
    thread.start()
    started.wait()
    if not server.base_url:
        thread.join()
        task.result()  # raises what kept it from listening
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
