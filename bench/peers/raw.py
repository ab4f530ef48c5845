"""The least that a client can do: HTTP/1.1 POST on an asyncio protocol, for replies whose length is
given. No error is handled, so it is a floor for others and a client for nobody.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


class Connection(asyncio.Protocol):
    """A kept connection, which carries one call at a time."""

    __slots__ = ("body_at", "received", "reply", "status", "transport", "wanted")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.reply: asyncio.Future[tuple[int, bytes]] | None = None
        self.received = b""
        self.wanted = -1
        self.body_at = 0
        self.status = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(error or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self.received = self.received + data if self.received else data
        if self.wanted < 0 and not self._read_head():
            return
        if len(self.received) >= self.wanted:
            body = self.received[self.body_at : self.wanted]
            self.received, self.wanted = b"", -1
            self.reply.set_result((self.status, body))

    def _read_head(self) -> bool:
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = self.received[:end].lower() + b"\r\n"
        at = head.index(b"content-length:") + len(b"content-length:")
        self.status = int(head[9:12])
        self.body_at = end + 4
        self.wanted = self.body_at + int(head[at : head.index(b"\r\n", at)])
        return True


class Pool:
    """Connections to one URL, made as they are needed."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        split = urlsplit(url)
        self.host, self.port = split.hostname, split.port
        lines = [f"POST {split.path} HTTP/1.1", f"Host: {split.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.head = "\r\n".join([*lines, "Content-Length: "]).encode()
        self.free: list[Connection] = []

    async def post(self, body: bytes) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        connection = self.free.pop() if self.free else None
        if connection is None or connection.transport is None:
            _, connection = await loop.create_connection(Connection, self.host, self.port)
        connection.reply = loop.create_future()
        connection.transport.write(b"%s%d\r\n\r\n%s" % (self.head, len(body), body))
        reply = await connection.reply
        self.free.append(connection)
        return reply

    async def close(self) -> None:
        for connection in self.free:
            if connection.transport is not None:
                connection.transport.close()
