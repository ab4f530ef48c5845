"""One launched server: a process group, a port that nobody else gets, a log, and a health check."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson

from mirage.engines.gpu import supervisor
from mirage.errors import RunError, StoppedError

LOOK_SECONDS = 0.2
HEALTH_SECONDS = 5.0
GRACE = 10.0
SPARE = 5.0
TAIL_LINES, TAIL_BYTES = 30, 1 << 16


class Port:
    """A free port of the loopback, kept for one server for as long as the run lasts.

    The socket is bound but never listens: with SO_REUSEADDR the server may bind the same port,
    while the system gives it to nobody who asks for any port.
    """

    def __init__(self) -> None:
        self._held = socket.socket()
        self._held.bind(("127.0.0.1", 0))
        self.number: int = self._held.getsockname()[1]
        if sys.platform == "linux":
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            self._held.close()

    def close(self) -> None:
        self._held.close()


class Server:
    """`command` takes the port; `model` is the name that it serves, which shows that it is ours."""

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        *,
        environment: Mapping[str, str],
        log: Path,
        model: str,
        key: str,
    ) -> None:
        self.log = log
        self.healthy = False
        self.unwanted = False
        self._command, self._environment = command, environment
        self._model, self._key = model, key
        self._port = Port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port.number}/v1"

    @property
    def code(self) -> int | None:
        """The exit code of a server that has ended."""
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Also again: what a killed supervisor has left of the server before goes first."""
        self.kill()
        self.healthy = False
        own = [sys.executable, "-I", supervisor.__file__, str(os.getpid()), str(GRACE)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*own, *self._command(self._port.number)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self._environment},
                start_new_session=True,
            )

    async def until_healthy(self, seconds: float) -> None:
        """Raises RunError, with the end of the log, where it ends or takes longer; StoppedError
        once it is unwanted.
        """
        began = time.monotonic()
        while not await asyncio.to_thread(self._answers):
            if self.unwanted:
                raise StoppedError("stopped before the servers answered")
            if self.code is not None:
                raise RunError(f"ended with code {self.code} before it answered{self.tail()}")
            if time.monotonic() - began > seconds:
                raise RunError(f"did not answer within {seconds:g} s{self.tail()}")
            await asyncio.sleep(LOOK_SECONDS)
        self.healthy = True

    async def until_dead(self) -> None:
        while self.code is None:
            await asyncio.sleep(LOOK_SECONDS)
        self.healthy = False

    def let_go(self) -> None:
        """Tell the supervisor to end the server; returns at once."""
        self.healthy = False
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    async def end(self) -> None:
        """End it, and everything that it has started; takes at most about 15 seconds."""
        self.let_go()
        until = time.monotonic() + GRACE + SPARE
        while self.code is None and time.monotonic() < until:
            await asyncio.sleep(0.02)
        self.kill()

    def kill(self) -> None:
        """What is left of the group goes at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        self._port.close()

    def tail(self) -> str:
        """The end of the log, without the key."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        except OSError:
            return ""
        text = "\n".join(lines).replace(self._key, "***").strip()
        return f"; the end of {self.log}:\n{text}" if text else f"; {self.log} is empty"

    def sees(self) -> bool:
        """Whether the model takes images; where the server does not say, its answers will."""
        try:
            status, body = self._get("/model_info")
            return status != 200 or orjson.loads(body).get("has_image_understanding") is not False
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            return True

    def _answers(self) -> bool:
        """Whether it is healthy, and ours: whoever else listens there serves no such model."""
        try:
            if self._get("/health")[0] != 200:
                return False
            status, body = self._get("/v1/models")
            return status == 200 and self._model in {m["id"] for m in orjson.loads(body)["data"]}
        except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
            return False

    def _get(self, path: str) -> tuple[int, bytes]:
        address = "127.0.0.1", self._port.number
        with contextlib.closing(
            http.client.HTTPConnection(*address, timeout=HEALTH_SECONDS)
        ) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self._key}"})
            reply = connection.getresponse()
            return reply.status, reply.read()
