"""The embedded engine: any GGUF model through llama.cpp, inside this process, without a GPU.

llama.cpp's own server runs in a thread and listens on the loopback, behind a random key. Each call
is two requests to it, from a worker thread: the chat template is applied, then the prompt is
completed under the JSON schema. That way because (measured on xllamacpp 2026.10)

* the chat endpoint parses what the model wrote and answers 500 where it cannot; a completion does
  not care what the text looks like;
* the chat endpoint reads control tokens out of record text. Here such text is cut out of the
  prompt and goes in as the tokens of its letters;
* a call over HTTP ends when its socket is closed, a direct call into the library cannot be ended;
  the way over the loopback costs 0.5 ms of CPU per call.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from mirage.config.models import EngineConfig
from mirage.engines.chat import guided
from mirage.engines.llama import kept
from mirage.engines.llama.forced import Forced, choose
from mirage.engines.llama.gguf_file import ModelFile, read_model_file
from mirage.engines.llama.loopback import Loopback
from mirage.engines.llama.prompt import PromptBuilder
from mirage.engines.thoughts import THINKS, spoken
from mirage.engines.weights import content_digest
from mirage.engines.window import AdaptiveWindow
from mirage.errors import ConfigError, EngineError, Mistake, RunError
from mirage.record import Abilities, Completion, Message, Request, Window

SLOTS = 4
MOST_SLOTS = 16
CONTEXT = 4096
MAX_TOKENS = 1024
SMALL_MODEL = 64 << 20
START_TIMEOUT = 60
ARGS = frozenset({"mmproj", "threads", "context"})
PROBE = "mirage1234"
MEDIA_TYPES = frozenset({"image/jpeg", "image/png"})
FIELDS = ["content", "stop_type", "tokens_predicted", "tokens_evaluated"]


def threads_for(model: Path) -> int:
    """One thread for a small model, whose threads would mostly wait for each other; else a few.

    On two cores that other work shares, two threads gave a 4 MB model a third of the speed of one.
    """
    return 1 if model.stat().st_size < SMALL_MODEL else min(4, os.cpu_count() or 1)


class LlamaEngine:
    """`args`: `mmproj` (the vision projector's GGUF file), `threads`, and `context`, the tokens of
    prompt and answer together, per slot. There are `max_in_flight` slots, at most 16.
    """

    def __init__(self, config: EngineConfig, *, name: str, base: Path) -> None:
        self._config = config
        self._path, self._mmproj = _files(config, name, base)
        self._template = _template(config, base)
        self._file = _described(self._path, name)
        wanted = config.args.get("context", CONTEXT)
        self._context = min(wanted, self._file.context or wanted)
        self.capacity = min(config.max_in_flight or SLOTS, MOST_SLOTS)
        self._window = AdaptiveWindow(self.capacity, rpm=config.rpm, tpm=config.tpm)
        self.window: Window = self._window
        self.abilities = Abilities(images=self._mmproj is not None, schema=True, choices=True)
        self._threads = config.args.get("threads") or threads_for(self._path)
        self._pool = ThreadPoolExecutor(self.capacity, thread_name_prefix="llamacpp")
        self._server: Any = None
        self._constrained = False
        self._busy: set[Loopback] = set()
        self.details: dict[str, Any] = {"model": self._path.name, "name": self._file.name}
        self.details |= {"context": self._context, "threads": self._threads}

    async def start(self) -> None:
        """Load the model: seconds for a large one, during which nothing else runs."""
        import xllamacpp

        key = secrets.token_urlsafe(24)
        try:
            self._server = xllamacpp.Server(self._params(xllamacpp.CommonParams(), key))
        except RuntimeError as exc:
            what = self._path.name + " with this chat_template" * (self._template is not None)
            raise RunError(f"llama.cpp cannot load {what}: {exc}") from exc
        self._address, self._key = self._server.listening_address, key
        starting = self._connection(START_TIMEOUT)
        # answered by the loop over the slots: a server that ends before this loop began never ends
        starting.get("/slots")
        properties = starting.get("/props")
        marker, vision = properties["media_marker"], properties["modalities"]["vision"]
        extra = dict(self._config.extra_body)
        options = {"chat_template_kwargs": extra.pop("chat_template_kwargs", {})}
        self._extra = extra
        self._prompts = PromptBuilder(self._file.control, marker, options)
        self._try_template()
        self.abilities = Abilities(
            images=vision, schema=True, choices=True, media_types=MEDIA_TYPES
        )

    async def complete(self, request: Request) -> Completion:
        connection = self._connection(self._config.timeout)
        self._busy.add(connection)
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._pool, self._answer, connection, request)
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            self._busy.discard(connection)
        self._window.answered(answer.prompt_tokens + answer.completion_tokens)
        return answer

    async def close(self) -> None:
        """End the calls under way, then the server's threads; waits for at most about a second.

        The calls come first: the server waits for its open connections, and would wait forever.
        """
        for connection in self._busy:
            connection.abort()
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._constrained:
            kept.keep(self._server)
        self._server = None

    def _try_template(self) -> None:
        """Raises RunError where a template that was given is none: what is said would be lost."""
        if self._template is None:
            return
        try:
            connection = self._connection(START_TIMEOUT)
            prompt, _ = self._prompts.build(connection, [Message("user", (PROBE,))])
        except EngineError as exc:
            raise RunError(f"the chat_template cannot be used: {exc.message}") from exc
        if PROBE not in prompt:
            raise RunError(
                "the chat_template leaves out what is said; it is a template's text, its file, or "
                f"a name that llama.cpp knows, not {self._config.chat_template!r}"
            )

    def _connection(self, timeout: float) -> Loopback:
        return Loopback(self._address, self._key, timeout)

    def _params(self, params: Any, key: str) -> Any:
        params.model.path = str(self._path)
        if self._mmproj is not None:
            params.mmproj.path = str(self._mmproj)
        if self._template is not None:
            params.chat_template = self._template
        params.n_parallel = self.capacity
        params.n_ctx = self._context * self.capacity
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self._threads
        params.n_threads_http = self.capacity + 2  # each connection holds one
        params.port, params.api_keys = 0, [key]
        params.ui = params.warmup = False
        params.cache_ram_mib = 0  # its default keeps up to 8 GiB of old prompts
        params.verbosity = -1
        return params

    def _answer(self, connection: Loopback, request: Request) -> Completion:
        constrained = request.schema is not None or bool(request.choices)
        self._constrained |= constrained
        closed = kept.kept() if constrained else []
        completion = self._written(connection, request)
        kept.release(closed)
        return completion

    def _written(self, connection: Loopback, request: Request) -> Completion:
        began = time.perf_counter()
        prompt, opening = self._prompts.build(connection, request.messages)
        if request.choices and opening:
            raise EngineError("choices", THINKS)
        if request.choices:
            return choose(Forced(connection, prompt, self._extra), request.choices)
        body = {"prompt": prompt, "response_fields": FIELDS, "temperature": 0.0, **request.sampling}
        body["n_predict"] = body.pop("max_tokens", None) or min(self._context // 2, MAX_TOKENS)
        body = {key: value for key, value in body.items() if value is not None}
        if request.seed is not None:
            body["seed"] = request.seed
        if request.schema is not None:
            body["json_schema"] = guided(request.schema)
        reply = connection.post("/completion", orjson.dumps(body | self._extra))
        finish = "length" if reply["stop_type"] == "limit" else "stop"
        text = spoken(opening + reply["content"])
        asked, said = reply["tokens_evaluated"], reply["tokens_predicted"]
        return Completion(text, finish, asked, said, time.perf_counter() - began)


def model_identity(config: EngineConfig, base: Path) -> str:
    """The model as request keys know it: the content of its files, template and extra arguments."""
    model, mmproj = _files(config, "engine", base)
    parts = [content_digest(path) for path in (model, mmproj) if path is not None]
    extras = {"template": _template(config, base), **config.extra_body}
    if config.chat_template is not None or config.extra_body:
        parts.append(orjson.dumps(extras, option=orjson.OPT_SORT_KEYS, default=str).decode())
    return "gguf:" + "+".join(parts)


def _files(config: EngineConfig, name: str, base: Path) -> tuple[Path, Path | None]:
    """The files of model and projector. Raises ConfigError with all that is wrong."""
    mistakes = []
    if importlib.util.find_spec("xllamacpp") is None:
        hint = 'needs llama.cpp: pip install "mirage-engine[llamacpp]"'
        mistakes.append(Mistake(f"{name}.backend", hint))
    for key, value in sorted(config.args.items()):
        if problem := _problem(key, value):
            mistakes.append(Mistake(f"{name}.args.{key}", problem))
    model = base / Path(config.model_path or "").expanduser()
    if not model.is_file():
        missing = f"no such file: {model}" if config.model_path else "missing: a GGUF file, or demo"
        mistakes.append(Mistake(f"{name}.model_path", missing))
    mmproj = config.args.get("mmproj")
    projector = base / Path(mmproj).expanduser() if isinstance(mmproj, str) else None
    if projector is not None and not projector.is_file():
        mistakes.append(Mistake(f"{name}.args.mmproj", f"no such file: {projector}"))
    if mistakes:
        raise ConfigError(mistakes)
    return model, projector


def _problem(key: str, value: Any) -> str:
    """What is wrong with one of `args`; empty where nothing is."""
    if key not in ARGS:
        return "not an argument of this engine"
    if key == "mmproj":
        return "" if isinstance(value, str) else "must be the path of a GGUF file"
    return "" if type(value) is int and value > 0 else "must be a whole number, 1 or more"


def _template(config: EngineConfig, base: Path) -> str | None:
    """The chat template: as given, a text or a name that llama.cpp knows, or what a file holds."""
    given = config.chat_template
    if given is None or "{" in given:
        return given
    path = base / Path(given).expanduser()
    return path.read_text("utf-8") if path.is_file() else given


def _described(path: Path, name: str) -> ModelFile:
    try:
        return read_model_file(path)
    except (OSError, ValueError) as exc:
        raise ConfigError([Mistake(f"{name}.model_path", str(exc))]) from exc
