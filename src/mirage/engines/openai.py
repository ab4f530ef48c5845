"""Any endpoint that speaks OpenAI's chat completions: OpenAI, Azure, vLLM, SGLang, llama.cpp, ...

A request becomes one POST to `{base_url}/chat/completions`; of the answer only the text, the
finish reason and the token counts are kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from mirage.config.models import EngineConfig
from mirage.engines import chat
from mirage.engines.http import HttpClient, PassingError, Secrets, check_url, refusal
from mirage.engines.retry import persist
from mirage.engines.window import AdaptiveWindow
from mirage.errors import AuthenticationError, ConfigError, EngineError, Mistake, StoppedError
from mirage.record import Abilities, Completion, Message, Request, Window

CAPACITY = 64
REST_AFTER_FAULT = 5.0
LIMITS = frozenset(f.name for f in fields(Abilities)) - {"media_types"}
PROBES = 2
REFUSED = frozenset({"http_400", "http_404", "http_422", "http_501"})
PROBE = {
    "type": "object",
    "properties": {"zebra": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["zebra"],
    "additionalProperties": False,
}


@dataclass(slots=True, eq=False)
class Endpoint:
    """One of the URLs that serve the model; after a lost connection it rests for a while."""

    url: str
    in_flight: int = 0
    rests_until: float = 0.0


class OpenAIEngine:
    """Requests over HTTP, spread over the endpoints, each to the one with the least to do.

    `args` may hold `proxy` (a URL, or "environment") and what the model can do: `images`,
    `schema`, `max_pixels`, `max_bytes`, `max_images`.
    """

    def __init__(self, config: EngineConfig, *, name: str) -> None:
        self._config = config
        self._model = config.model_path
        self._extra = config.extra_body
        self._endpoints = _endpoints(config, name)
        self._secrets = Secrets()
        self._client: HttpClient | None = None
        self._heard = False
        self.capacity = config.max_in_flight or CAPACITY
        self._window = AdaptiveWindow(self.capacity, rpm=config.rpm, tpm=config.tpm)
        self.window: Window = self._window
        limits = {key: value for key, value in config.args.items() if key in LIMITS}
        self.abilities = Abilities(**{"images": True, "schema": True, **limits})
        self.details = {"model": config.model_path, "endpoints": _hosts(config)}

    async def start(self) -> None:
        """Read the key and open the pool; no call is made."""
        config = self._config
        headers, self._secrets = _credentials(config)
        self._client = HttpClient(
            headers,
            timeout=config.timeout,
            connections=self.capacity,
            proxy=config.args.get("proxy"),
        )

    async def complete(self, request: Request) -> Completion:
        try:
            body = self._body(request)
        except TypeError as exc:  # orjson's own, for what JSON cannot hold
            raise EngineError("request", f"cannot be sent: {exc}") from exc

        call = partial(self._call, body)
        try:
            return await persist(call, self._window, self._config.retries, self._secrets)
        except EngineError as error:
            if error.kind == "connection" and not self._heard:
                raise StoppedError(f"no endpoint has answered yet: {error}") from error
            raise

    async def probe_schema(self, known: bool | None = None) -> bool:
        """Whether a JSON schema binds the model here: several servers ignore it silently.

        Small calls that ask for something else than the schema allows; none where the answer is
        `known` from before. Raises EngineError where the endpoint does not answer at all.
        """
        bites = await self._schema_bites() if known is None else known
        self.abilities = replace(self.abilities, schema=bites)
        return bites

    async def _schema_bites(self) -> bool:
        question = Message("user", ("Answer with the single word: yes",))
        request = Request(self._model or "", (question,), schema=PROBE)
        for _ in range(PROBES):
            try:
                async with self.window:
                    answer = orjson.loads((await self.complete(request)).text)
            except orjson.JSONDecodeError:
                continue
            except EngineError as error:
                if error.kind in REFUSED:
                    return False
                raise
            if isinstance(answer, dict) and list(answer) == ["zebra"]:
                return True
        return False

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    def _body(self, request: Request) -> bytes:
        body: dict[str, Any] = {"model": self._model, "messages": chat.to_wire(request.messages)}
        for key, value in request.sampling.items():
            if value is not None:
                body[key] = value
        if request.seed is not None:
            body["seed"] = request.seed
        if request.schema is not None:
            body["response_format"] = chat.response_format(request.schema)
        return orjson.dumps(body | self._extra)

    async def _call(self, body: bytes, attempt: int) -> Completion:
        assert self._client is not None, "start() comes first"
        endpoint = self._pick()
        endpoint.in_flight += 1
        began = time.perf_counter()
        try:
            reply = await self._client.post(endpoint.url, body)
        except PassingError:
            endpoint.rests_until = time.monotonic() + REST_AFTER_FAULT
            raise
        finally:
            endpoint.in_flight -= 1
        self._heard = True
        if not 200 <= reply.status < 300:
            raise refusal(reply, self._secrets)
        return read_completion(reply.body, time.perf_counter() - began, attempt)

    def _pick(self) -> Endpoint:
        if len(self._endpoints) == 1:
            return self._endpoints[0]
        now = time.monotonic()
        return min(self._endpoints, key=lambda e: (max(0.0, e.rests_until - now), e.in_flight))


def read_completion(data: bytes, seconds: float = 0.0, attempts: int = 1) -> Completion:
    """What we keep of a chat completion.

    Raises PassingError where the reply is not one, EngineError where the model or a filter
    declined to answer.
    """
    try:
        reply = orjson.loads(data)
        choice = reply["choices"][0]
        message = choice.get("message") or {}
        text = message.get("content")
        finish = str(choice.get("finish_reason") or "stop")
        usage = reply.get("usage") or {}
        prompt, completion = (tokens(usage.get(f"{of}_tokens")) for of in ("prompt", "completion"))
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        raise _malformed(data) from None
    if isinstance(text, list):  # some servers answer in typed parts
        text = "".join(part.get("text") or "" for part in text if isinstance(part, dict))
    if finish == "content_filter":
        raise EngineError("content_filter", "the endpoint filtered the answer", raw=text)
    if text is None and message.get("refusal"):
        raise EngineError("refusal", "the model refused to answer", raw=message["refusal"])
    if text is None and finish == "length":
        text = ""
    if not isinstance(text, str):
        raise _malformed(data)
    return Completion(text, finish, prompt, completion, seconds, attempts)


def tokens(value: Any) -> int:
    """A count as an endpoint gives it; 0 where it gives anything else."""
    return value if type(value) is int and 0 <= value < 1 << 53 else 0


def _malformed(data: bytes) -> PassingError:
    raw = data.decode(errors="replace")
    return PassingError("malformed", "the reply is not a chat completion", raw=raw)


def _endpoints(config: EngineConfig, name: str) -> list[Endpoint]:
    mistakes = []
    if not config.model_path:
        mistakes.append(Mistake(f"{name}.model_path", "missing: which model of the endpoint?"))
    unknown = sorted(set(config.args) - LIMITS - {"proxy"})
    mistakes += [
        Mistake(f"{name}.args.{key}", "not an argument of this engine; see extra_body")
        for key in unknown
    ]
    if config.chat_template is not None:
        mistakes.append(Mistake(f"{name}.chat_template", "an endpoint applies its own: remove it"))
    found = []
    query = f"?{urlencode(config.query)}" if config.query else ""
    for base in _urls(config):
        stem = base.rstrip("/").removesuffix("/chat/completions")
        try:
            found.append(Endpoint(check_url(f"{stem}/chat/completions{query}")))
        except ValueError as exc:
            mistakes.append(Mistake(f"{name}.base_url", str(exc)))
    if not found and not mistakes:
        mistakes.append(Mistake(f"{name}.base_url", "missing: where is the endpoint?"))
    if mistakes:
        raise ConfigError(mistakes)
    return found


def _urls(config: EngineConfig) -> list[str]:
    given = config.base_url
    return [given] if isinstance(given, str) else list(given or [])


def _hosts(config: EngineConfig) -> list[str]:
    """The endpoints as a manifest may show them: without user, password or query."""
    split = [urlsplit(url) for url in _urls(config)]
    return [f"{s.scheme}://{s.netloc.rpartition('@')[2]}{s.path}" for s in split]


def _credentials(config: EngineConfig) -> tuple[Mapping[str, str], Secrets]:
    headers = dict(config.headers)
    hidden = [*config.headers.values()]
    hidden += [value for key, value in config.query.items() if key != "api-version"]
    hidden += [password for url in _urls(config) if (password := urlsplit(url).password)]
    variable = config.api_key_env
    if variable:
        key = os.environ.get(variable, "").strip()
        if not key:
            raise AuthenticationError(f"the environment variable {variable} is not set")
        if not (key.isascii() and key.isprintable()):
            raise AuthenticationError(f"the key in {variable} holds characters no header can")
        headers.setdefault("Authorization", f"Bearer {key}")
        hidden.append(key)
    values = sorted({value for value in hidden if len(value) >= 4}, key=len, reverse=True)
    return headers, Secrets(tuple(values), variable)
