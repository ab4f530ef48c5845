"""Requests to llama.cpp's server in this process, one after the other, from a worker thread.

The standard library's client, and not the shared one: its socket can be shut from another thread,
which is how llama.cpp is told to stop writing an answer that nobody waits for any more.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import Any
from urllib.parse import urlsplit

import orjson

from mirage.errors import EngineError

MAX_MESSAGE = 500


class Loopback:
    """`timeout` is in seconds, for one request. Raises EngineError for all that goes wrong."""

    def __init__(self, address: str, key: str, timeout: float) -> None:
        at = urlsplit(address)
        self._host, self._port = at.hostname or "", at.port
        self._timeout = timeout
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._headers["Connection"] = "close"
        self._socket: socket.socket | None = None
        self._aborted = False

    def get(self, path: str) -> Any:
        return self._exchange("GET", path, None)

    def post(self, path: str, body: bytes) -> Any:
        return self._exchange("POST", path, body)

    def abort(self) -> None:
        """End the request under way, from any thread; no other can follow."""
        self._aborted = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _exchange(self, method: str, path: str, body: bytes | None) -> Any:
        with contextlib.closing(
            http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        ) as connection:
            try:
                connection.connect()
                self._socket = connection.sock
                if self._aborted:
                    raise EngineError("connection", "the engine was closed", attempts=1)
                connection.request(method, path, body, self._headers)
                response = connection.getresponse()
                data = response.read()
            except TimeoutError as exc:
                limit = f"no answer within {self._timeout:g} s"
                raise EngineError("timeout", limit, attempts=1) from exc
            except (OSError, http.client.HTTPException) as exc:
                raise EngineError("connection", type(exc).__name__, attempts=1) from exc
            finally:
                self._socket = None
        reply = orjson.loads(data)
        if response.status != 200:
            raise _refusal(response.status, reply.get("error", {}))
        return reply


def _refusal(status: int, error: dict[str, Any]) -> EngineError:
    too_long = error.get("type") == "exceed_context_size_error"
    kind = "too_long" if too_long else f"http_{status}"
    return EngineError(kind, str(error.get("message", ""))[:MAX_MESSAGE], attempts=1)
