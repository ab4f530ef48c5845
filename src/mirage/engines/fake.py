"""The fake engine: no model, no network, and the same answer to the same question, always.

An answer is a function of the roles, the texts and the *bytes of the pictures*: whoever loses,
swaps or alters one of them gets another answer. The default wherever something is tried or tested.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from mirage.config import IN_FLIGHT
from mirage.config.models import EngineConfig
from mirage.engines.window import AdaptiveWindow
from mirage.errors import ConfigError, EngineError, Mistake
from mirage.record import Abilities, Completion, Message, Request, Window

ARGS = frozenset({"latency", "echo", "reply", "fail"})
DEEPEST = 12


class FakeEngine:
    """`args`: `latency` (seconds per call), `echo` (answer with the prompt's text), `reply` (answer
    with this), `fail` (the share of prompts, picked by their hash, that always fail).
    """

    def __init__(self, config: EngineConfig, *, name: str) -> None:
        unknown = sorted(set(config.args) - ARGS)
        if unknown:
            where = [f"{name}.args.{key}" for key in unknown]
            raise ConfigError(
                [Mistake(path, "the fake engine has no such thing") for path in where]
            )
        wrong = [key for key in ("latency", "fail") if not _number(config.args.get(key, 0))]
        if wrong:
            raise ConfigError(
                [Mistake(f"{name}.args.{key}", "must be a number, 0 or more") for key in wrong]
            )
        self._args = config.args
        self.capacity = config.max_in_flight or IN_FLIGHT
        self._window = AdaptiveWindow(self.capacity, rpm=config.rpm, tpm=config.tpm)
        self.window: Window = self._window
        self.abilities = Abilities(images=True, schema=True, choices=True)
        self.details = {"model": "fake", **config.args}

    async def start(self) -> None:
        """Nothing to load."""

    async def complete(self, request: Request) -> Completion:
        began = time.perf_counter()
        await asyncio.sleep(self._args.get("latency", 0))
        digest = digest_of(request.messages, draw_of(request.sampling, request.seed))
        if int.from_bytes(digest[:4]) < self._args.get("fail", 0) * 2**32:
            raise EngineError("fake", "the fake engine was told to fail here", attempts=1)
        if request.choices:
            self._window.answered()
            logprobs = scores(request.messages, request.choices)
            best = request.choices[logprobs.index(max(logprobs))]
            return Completion(best, seconds=time.perf_counter() - began, logprobs=logprobs)
        text = self._args.get("reply")
        if text is None and self._args.get("echo"):
            text = question(request.messages)
        elif text is None:
            text = answer(request.messages, request.schema, digest)
        self._window.answered()
        words = sum(len(message.text.split()) for message in request.messages)
        spent = time.perf_counter() - began
        return Completion(text, "stop", words, len(text.split()), spent)

    async def close(self) -> None:
        """Nothing to release."""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def draw_of(sampling: Mapping[str, Any], seed: int | None) -> str:
    """What sets one draw apart from another: nothing at temperature 0."""
    return str(seed) if sampling.get("temperature") else ""


def digest_of(messages: Sequence[Message], draw: str = "") -> bytes:
    """A hash of all that the fake looks at; pictures count by the bytes that would be sent."""
    hashed = hashlib.sha256(draw.encode())
    for message in messages:
        hashed.update(f"\0{message.role}".encode())
        for part in message.parts:
            data = part.encode() if isinstance(part, str) else hashlib.sha256(part.data).digest()
            hashed.update(b"\1" + data)
    return hashed.digest()


def question(messages: Sequence[Message]) -> str:
    """The text of the last turn that is the user's."""
    return next((m.text for m in reversed(messages) if m.role == "user"), "")


def answer(messages: Sequence[Message], schema: Mapping[str, Any] | None, digest: bytes) -> str:
    """Plain text that begins with the hash, or a valid instance of the schema as JSON."""
    if schema is not None:
        return orjson.dumps(instance(schema, random.Random(digest))).decode()
    start = " ".join(question(messages).split()[:6])
    return f"fake {digest.hex()[:8]} {start}".rstrip()


def scores(messages: Sequence[Message], choices: Sequence[str]) -> tuple[float, ...]:
    """A log-probability for each choice: a function of the messages and of that choice alone."""
    asked = digest_of(messages)
    hashes = (hashlib.sha256(asked + choice.encode()).digest() for choice in choices)
    return tuple(-0.01 - 8 * int.from_bytes(h[:4]) / 2**32 for h in hashes)


def instance(schema: Mapping[str, Any], rng: random.Random) -> Any:
    """A value that the schema allows, drawn from `rng`; keys in the schema's order.

    Covers what configurations and pydantic write: objects, arrays, enum, const, ranges, unions and
    `$ref`; not `pattern`, `format`, `not` or conditions.
    """
    return _value(schema, rng, schema, 0)


def _value(schema: Any, rng: random.Random, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping):  # `true` allows anything
        return _word(rng)
    if "$ref" in schema:
        schema = _resolve(schema["$ref"], root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            options = schema[union]  # at the deepest, the last: unions end in null by custom
            chosen = options[-1] if depth > DEEPEST else rng.choice(options)
            return _value(chosen, rng, root, depth + 1)
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = rng.choice(kind)
    if kind == "object":
        members = schema.get("properties", {}).items()
        return {key: _value(member, rng, root, depth + 1) for key, member in members}
    if kind == "array":
        least = schema.get("minItems", 0 if depth > DEEPEST else 1)
        count = rng.randint(least, max(least, min(schema.get("maxItems", 3), max(3, least))))
        count = least if depth > DEEPEST else count
        return [_value(schema.get("items", True), rng, root, depth + 1) for _ in range(count)]
    return _scalar(kind, schema, rng)


def _scalar(kind: str, schema: Mapping[str, Any], rng: random.Random) -> Any:
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "null":
        return None
    if kind == "string":
        return _word(rng, schema.get("minLength", 0), schema.get("maxLength"))
    if kind == "integer":
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 101) - 1)
        return rng.randint(int(-(-low // 1)), int(high // 1))
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0.0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", low + 1.0))
    return low + (high - low) * rng.uniform(0.25, 0.75)


def _word(rng: random.Random, least: int = 0, most: int | None = None) -> str:
    text = f"fake {rng.getrandbits(32):08x}".ljust(least, "x")
    return text if most is None else text[:most]


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    """A `$ref` inside the same schema, as a JSON pointer."""
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = found[step.replace("~1", "/").replace("~0", "~")]
    return found
