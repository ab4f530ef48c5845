"""`launch: true`: SGLang or vLLM as servers of this machine, started, watched, and ended with us.

There is one server for each tensor-parallel group, on a port of the loopback and behind a random
key; calls go to them as to any other endpoint. A server that dies is started again, a few times;
calls that it took along are made again. When this process ends, however it ends, so do the servers:
see `supervisor.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from mirage.config.models import EngineConfig
from mirage.engines.gpu.command_line import server_command, server_environment, visible_gpus
from mirage.engines.gpu.config import Kind, Settings, settings
from mirage.engines.gpu.server import Server
from mirage.engines.openai import OpenAIEngine
from mirage.engines.window import AdaptiveWindow
from mirage.errors import HALTED, EngineError, RunError, StoppedError
from mirage.record import Abilities, Completion, Request, Window

START_TIMEOUT = 1800.0
RESTARTS = 3
HEALTHY_LONG = 600.0
SAY_AFTER = 30.0


class LaunchedEngine:
    """`args` are the server's own, and ours: `replicas`, `python` and `start_timeout`."""

    def __init__(self, config: EngineConfig, kind: Kind, *, name: str, base: Path) -> None:
        self._given = settings(config, kind, name=name, base=base)
        self._gpus = visible_gpus()
        self._count = replicas(self._given, len(self._gpus))
        self.capacity = config.max_in_flight or self._given.capacity * self._count
        self.window: Window = AdaptiveWindow(self.capacity)
        self.abilities = Abilities(images=True, schema=True, choices=True)
        self.details: dict[str, Any] = {"model": config.model_path, "engine": kind.package}
        self.details["servers"] = self._count
        self._folder: Path | None = None
        self._servers: list[Server] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._client: OpenAIEngine | None = None
        self._deaths = self._lost = 0
        self._end: StoppedError | None = None

    async def start(self) -> None:
        """Start all servers and wait until all answer. Raises RunError, with the end of a log."""
        given = self._given
        if self._gpus and self._count * given.gpus > len(self._gpus):
            asked = f"{self._count} x {given.gpus} GPUs are asked for"
            raise RunError(f"{asked}, {len(self._gpus)} can be seen")
        self._folder = Path(tempfile.mkdtemp(prefix="mirage-servers-"))
        key, model = secrets.token_urlsafe(24), f"mirage-{secrets.token_hex(4)}"
        try:
            self._servers = [self._server(n, key, model) for n in range(self._count)]
            for server in self._servers:
                server.start()
            await self._all_healthy()
            sees = await asyncio.to_thread(self._servers[0].sees)
            self._client = OpenAIEngine(self._endpoints(key, model, sees=sees), name=given.name)
            self._client.endpoints.heard = True
            self.window, self.abilities = self._client.window, self._client.abilities
            await self._client.start()
        except BaseException:
            await self.close(keep=True)
            raise
        self._watchers = [asyncio.create_task(self._watch(each)) for each in self._servers]

    async def complete(self, request: Request) -> Completion:
        """Calls that a dying server takes along go to another one, or wait until it is back."""
        assert self._client is not None, "start() comes first"
        try:
            return await self._client.complete(request)
        except EngineError as error:
            if error.kind == HALTED and self._end is not None:
                raise self._end from error
            raise

    def halt(self) -> None:
        """Nothing more is to be begun: neither a call, nor the wait for a server."""
        for server in self._servers:
            server.unwanted = True
        if self._client is not None:
            self._client.halt()

    async def probe_schema(self, known: bool | None = None) -> bool:
        assert self._client is not None, "start() comes first"
        bites = await self._client.probe_schema(known)
        self.abilities = self._client.abilities
        return bites

    async def probe_choices(self) -> bool:
        assert self._client is not None, "start() comes first"
        tells = await self._client.probe_choices()
        self.abilities = self._client.abilities
        return tells

    async def close(self, *, keep: bool = False) -> None:
        """End every server. Their logs go, too, unless one of them has been in trouble."""
        for watcher in self._watchers:
            watcher.cancel()
        for server in self._servers:
            server.let_go()
        if self._client is not None:
            await self._client.close()
        await asyncio.gather(*(server.end() for server in self._servers))
        for server in self._servers:
            server.close()
        if self._folder is not None:
            (self._folder / "key.yaml").unlink(missing_ok=True)
            if not (keep or self._deaths):
                shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None  # closing again keeps what was kept
        self._servers, self._watchers = [], []

    # -- servers ---------------------------------------------------------------------------------

    def _server(self, number: int, key: str, model: str) -> Server:
        given, folder = self._given, self._folder
        assert folder is not None
        mine = self._gpus[number * given.gpus : (number + 1) * given.gpus]
        command = partial(server_command, given, model=model, key=key, folder=folder)
        return Server(
            lambda port: command(port=port),
            environment=server_environment(given, key=key, gpus=mine),
            log=folder / f"server-{number}.log",
            model=model,
            key=key,
        )

    def _endpoints(self, key: str, model: str, *, sees: bool) -> EngineConfig:
        """The servers as the configuration of an engine for endpoints, which waits for longer than
        it takes to start one again.
        """
        config = self._given.config
        return config.model_copy(
            update={
                "backend": "openai",
                "launch": False,
                "base_url": [server.url for server in self._servers],
                "model_path": model,
                "chat_template": None,
                "api_key_env": None,
                "headers": {**config.headers, "Authorization": f"Bearer {key}"},
                "max_in_flight": self.capacity,
                "args": {"images": sees, "outage": self._patience * (RESTARTS + 1)},
            }
        )

    async def _all_healthy(self) -> None:
        saying = asyncio.create_task(self._say())
        try:
            async with asyncio.TaskGroup() as group:
                for server in self._servers:
                    group.create_task(server.until_healthy(self._patience))
        except BaseExceptionGroup as errors:
            cause = errors.exceptions[0]
            if isinstance(cause, RunError) and not isinstance(cause, StoppedError):
                raise RunError(f"the server of {self._title} {cause}") from cause
            raise cause from None
        finally:
            saying.cancel()

    async def _say(self) -> None:
        """A line now and then while nothing else can be seen."""
        began = time.monotonic()
        while True:
            await asyncio.sleep(SAY_AFTER)
            ready = sum(server.healthy for server in self._servers)
            spent = f"{time.monotonic() - began:.0f} s"
            line = f"{self._title}: {ready} of {self._count} servers answer after {spent}"
            print(f"{line}; their logs are in {self._folder}", file=sys.stderr, flush=True)

    async def _watch(self, server: Server) -> None:
        """Start a server again whenever it dies, until that has happened too often in a row."""
        left = RESTARTS
        while True:
            began = time.monotonic()
            await server.until_dead()
            if server.unwanted:
                return
            self._deaths += 1
            left = RESTARTS if time.monotonic() - began > HEALTHY_LONG else left
            while left:
                left -= 1
                what = f"a server of {self._title} has ended with code {server.code}"
                print(f"{what}: starting it again; {server.log}", file=sys.stderr, flush=True)
                server.start()
                with contextlib.suppress(RunError):
                    await server.until_healthy(self._patience)
                    break
                server.kill()
                if server.unwanted:
                    return
            else:
                self._given_up(server)
                return

    def _given_up(self, server: Server) -> None:
        """One server is gone for good; where it is the last one, so is the run."""
        what = f"a server of {self._title} has ended {RESTARTS + 1} times, at last with code "
        what += f"{server.code}{server.tail()}"
        print(what, file=sys.stderr, flush=True)
        self._lost += 1
        if self._lost == self._count:
            self._end = StoppedError(what)
            self.halt()

    @property
    def _patience(self) -> float:
        """Seconds for a server to start."""
        return float(self._given.config.args.get("start_timeout") or START_TIMEOUT)

    @property
    def _title(self) -> str:
        return self._given.kind.title


def replicas(given: Settings, gpus: int) -> int:
    """As many as are asked for, or as the GPUs that can be seen have room for; at least one."""
    asked = given.config.args.get("replicas")
    return int(asked) if asked else max(1, gpus // given.gpus)
