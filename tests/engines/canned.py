"""A server that gives prepared replies, byte for byte, and remembers what it was sent."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson


@dataclass
class Call:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Canned:
    url: str
    calls: list[Call] = field(default_factory=list)


def http(status: str, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{headers}\r\n"
    return head.encode() + body


def reply(text: str, *, status: str = "200 OK", headers: str = "") -> bytes:
    """A chat completion that says `text`."""
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return http(status, orjson.dumps({"choices": [choice]}), headers)


@contextlib.contextmanager
def server(*replies: bytes, tls: ssl.SSLContext | None = None) -> Iterator[Canned]:
    """Each connection gets the next reply, and the last one again and again; `b""` hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        canned = Canned(f"http{'s' * bool(tls)}://127.0.0.1:{listening.getsockname()[1]}")

        def serve() -> None:
            number = 0
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError):  # of one that hangs up
                    plain = tls.wrap_socket(connection, server_side=True) if tls else connection
                    with plain:
                        if (call := _read(plain)) is None:
                            continue
                        canned.calls.append(call)
                        plain.sendall(replies[min(number, len(replies) - 1)])
                        number += 1

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield canned
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _read(connection: socket.socket) -> Call | None:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(1 << 16)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(1 << 16)
    return Call(first.split(" ")[1], headers, body, time.monotonic())
