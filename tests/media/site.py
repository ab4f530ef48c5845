"""A web site for tests, on this machine: what each path answers, and how often it was asked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """`answers` by path, a query included; what is not among them is a 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.busy = self.busiest = 0
        self.lock = threading.Lock()
        self.url = ""

    def set(self, path: str, data: bytes, status: int = 200, **headers: str) -> str:
        self.answers[path] = lambda handler: send(handler, status, data, headers)
        return self.url + path

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        with self.lock:
            self.asked[handler.path] += 1
            self.headers.append(dict(handler.headers.items()))
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        try:
            found = self.answers.get(handler.path)
            if found is None:
                send(handler, 404, b"no such thing", {})
            else:
                found(handler)
        finally:
            with self.lock:
                self.busy -= 1


def send(
    handler: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str]
) -> None:
    handler.send_response(status)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    for name, value in {"Content-Length": str(len(data)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data)


def endless(handler: BaseHTTPRequestHandler) -> None:
    """A body without end, and without a length."""
    handler.protocol_version = "HTTP/1.0"
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def slow(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(2)
    send(handler, 200, b"late", {})


@contextmanager
def serving(address: str = "127.0.0.1") -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            try:
                site.answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    site.url = f"http://{address}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
