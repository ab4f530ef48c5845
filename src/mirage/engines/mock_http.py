"""Just enough HTTP/1.1 for the mock server: keep-alive, Content-Length, one answer after another.

For trials and tests on one's own machine; nothing of it meets the outside.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import orjson
from msgspec import Struct

MAX_BODY = 256 << 20
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 413: "Too Large"}
REASONS |= {411: "Length Required", 429: "Too Many Requests", 500: "Internal Server Error"}


class Reply(Struct, frozen=True):
    status: int
    body: bytes
    headers: str = ""


def error(status: int, message: str, code: str = "", headers: str = "") -> Reply:
    return Reply(status, orjson.dumps({"error": {"message": message, "code": code}}), headers)


class Handler(Protocol):
    """What answers: `chat` gives the reply (None: never) and the seconds to wait before it."""

    def get(self, path: str) -> Reply: ...

    def chat(self, body: bytes, key: str) -> tuple[Reply | None, float]: ...

    def connected(self) -> None: ...

    def entered(self) -> None: ...

    def left(self) -> None: ...


class Connection(asyncio.Protocol):
    """One keep-alive connection: requests are answered one after the other."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._busy = False
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._handler.connected()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None:
            self._waiting.cancel()
        self._leave()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._next()

    def _next(self) -> None:
        """Take the next whole request out of the buffer, where there is one."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        method, path = (*first.split(" "), "", "")[:2]
        length = int(headers.get("content-length", "0") or 0)
        if method == "POST" and "content-length" not in headers:
            return self._refuse(error(411, "Content-Length is missing"))
        if length > MAX_BODY:
            return self._refuse(error(413, "too large"))
        if len(self._buffer) < end + 4 + length:
            if headers.get("expect") and self._transport and len(self._buffer) == end + 4:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        body = bytes(memoryview(self._buffer)[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        if method == "POST" and path.partition("?")[0].endswith("/chat/completions"):
            self._call(body, headers.get("authorization", ""))
        else:
            self._send(self._handler.get(path) if method == "GET" else error(404, "not here"))
        return None

    def _call(self, body: bytes, key: str) -> None:
        self._handler.entered()
        self._busy = self._counted = True
        reply, wait = self._handler.chat(body, key)
        if reply is not None and wait > 0:
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(wait, self._send, reply)
        elif reply is not None:
            self._send(reply)

    def _refuse(self, reply: Reply) -> None:
        self._send(reply)
        if self._transport is not None:
            self._transport.close()

    def _leave(self) -> None:
        if self._counted:
            self._counted = False
            self._handler.left()

    def _send(self, reply: Reply) -> None:
        self._leave()
        self._busy = False
        if self._transport is None:
            return
        head = (
            f"HTTP/1.1 {reply.status} {REASONS[reply.status]}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(reply.body)}\r\n"
            f"{reply.headers}\r\n"
        )
        self._transport.write(head.encode() + reply.body)
        if self._buffer:
            self._next()
