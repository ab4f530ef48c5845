"""Any endpoint that speaks OpenAI's chat completions: OpenAI, Azure, vLLM, SGLang, llama.cpp, ...

A request becomes one POST to `{base_url}/chat/completions`; of the answer only the text, the
finish reason and the token counts are kept.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from msgspec.structs import replace

from mirage.config import IN_FLIGHT
from mirage.config.models import EngineConfig
from mirage.engines import chat
from mirage.engines.chat import read_completion
from mirage.engines.endpoints import PATIENCE, Endpoints, SharedWindow
from mirage.engines.http import HttpClient, Secrets, check_url, header_lines, refusal
from mirage.engines.lettered import BODY, lettered, read_choice
from mirage.engines.retry import persist
from mirage.engines.window import AdaptiveWindow
from mirage.errors import AuthenticationError, ConfigError, EngineError, Mistake
from mirage.record import Abilities, Completion, Message, Request, Window

LIMITS = frozenset(Abilities.__struct_fields__) - {"media_types"}
ARGS = LIMITS | {"proxy", "outage"}
PROBES = 2
REFUSED = frozenset({"http_400", "http_404", "http_422", "http_501"})
PROBE = {
    "type": "object",
    "properties": {"zebra": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["zebra"],
    "additionalProperties": False,
}


class OpenAIEngine:
    """Requests over HTTP, spread over the endpoints, each to the one with the least to do.

    `args` may hold `proxy` (a URL, or "environment"), `outage` (the seconds after which a run is
    stopped because nothing answers any more) and what the model can do: `images`, `schema`,
    `choices`, `max_pixels`, `max_bytes`, `max_images`.
    """

    def __init__(self, config: EngineConfig, *, name: str) -> None:
        self._config = config
        self._model = config.model_path
        self._extra = config.extra_body
        urls = _checked(config, name)
        self._secrets = Secrets()
        self._client: HttpClient | None = None
        self.capacity = config.max_in_flight or IN_FLIGHT
        kind = SharedWindow if len(urls) > 1 else AdaptiveWindow
        self._window = kind(self.capacity, rpm=config.rpm, tpm=config.tpm)
        self.window: Window = self._window
        patience = config.args.get("outage", PATIENCE)
        self.endpoints = Endpoints(urls, self._window, retries=config.retries, patience=patience)
        limits = {key: value for key, value in config.args.items() if key in LIMITS}
        self.abilities = Abilities(**{"images": True, "schema": True, "choices": True, **limits})
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
        if request.choices:
            call = partial(call, read=partial(read_choice, choices=request.choices))
        return await persist(call, self.endpoints, self._config.retries, self._secrets)

    @property
    def waits(self) -> str:
        """Why no call is made at present; empty where calls are made."""
        return self.endpoints.trouble

    @property
    def paced(self) -> bool:
        """Whether there is a budget of calls or tokens."""
        return self._window.paced

    def narrow(self, calls: int) -> None:
        """Have no more than so many in flight from here on: another process may have the others."""
        self._window.relimit(calls)
        self.endpoints.share()

    def halt(self) -> None:
        """Turn back the calls that wait for an endpoint."""
        self.endpoints.halt()

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

    async def probe_choices(self) -> bool:
        """Whether the endpoint tells log-probabilities: one small call. Raises EngineError where it
        does not answer at all.
        """
        question = Message("user", ("Which of these is a colour?",))
        request = Request(self._model or "", (question,), choices=("red", "seven"))
        try:
            async with self.window:
                await self.complete(request)
        except EngineError as error:
            if error.kind != "logprobs" and error.kind not in REFUSED:
                if error.kind == "choices":  # it does, and this model is no good at letters
                    return True
                raise
            self.abilities = replace(self.abilities, choices=False)
        return self.abilities.choices

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
        if request.choices:
            body |= {"messages": chat.to_wire(lettered(request)), **BODY}
        return orjson.dumps(body | self._extra)

    async def _call(
        self,
        body: bytes,
        url: str,
        attempt: int,
        *,
        read: Callable[[bytes, float, int], Completion] = read_completion,
    ) -> Completion:
        assert self._client is not None, "start() comes first"
        began = time.perf_counter()
        reply = await self._client.post(url, body)
        if not 200 <= reply.status < 300:
            raise refusal(reply, self._secrets)
        return read(reply.body, time.perf_counter() - began, attempt)


def _checked(config: EngineConfig, name: str) -> list[str]:
    """Where calls go. Raises ConfigError with all that is wrong with the engine."""
    mistakes = []
    if not config.model_path:
        mistakes.append(Mistake(f"{name}.model_path", "missing: which model of the endpoint?"))
    for key, value in sorted(config.args.items()):
        mistakes += [Mistake(f"{name}.args.{key}", problem) for problem in _problems(key, value)]
    if config.chat_template is not None:
        mistakes.append(Mistake(f"{name}.chat_template", "an endpoint applies its own: remove it"))
    try:
        header_lines(config.headers)
    except ValueError as exc:
        mistakes.append(Mistake(f"{name}.headers", str(exc)))
    found: list[str] = []
    query = f"?{urlencode(config.query)}" if config.query else ""
    for base in _urls(config):
        stem = base.rstrip("/").removesuffix("/chat/completions")
        try:
            url = f"{check_url(stem)}/chat/completions{query}"
            if url not in found:  # the same one twice would be two shares of one server
                found.append(url)
        except ValueError as exc:
            mistakes.append(Mistake(f"{name}.base_url", str(exc)))
    if not found and not mistakes:
        mistakes.append(Mistake(f"{name}.base_url", "missing: where is the endpoint?"))
    if mistakes:
        raise ConfigError(mistakes)
    return found


def _problems(key: str, value: Any) -> Iterator[str]:
    """What is wrong with one of `args`."""
    kind = type(value)
    if key not in ARGS:
        yield "not an argument of this engine; see extra_body"
    elif key == "outage":
        if kind not in (int, float) or value <= 0:
            yield "must be a number of seconds above 0"
    elif key == "proxy":
        if kind is not str:
            yield 'must be a URL, or "environment"'
    elif key.startswith("max_"):
        if kind is not int or value < 0:
            yield "must be a whole number, 0 (no limit) or more"
    elif kind is not bool:
        yield "must be true or false"


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
