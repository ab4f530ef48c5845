"""The mock server: built, started, set and asked what it saw."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("mockserver.cc")


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a call takes, in milliseconds; `slow_percent` of the calls take `slow_ms`."""

    latency_ms: int = 0
    slow_percent: int = 0
    slow_ms: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server saw of a run: calls, distinct rows among them, the most calls at once.

    `span_s` is from the first request to the last answer.
    """

    calls: int
    rows: int
    max_in_flight: int
    span_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Server:
    """A mock server that listens on `port`."""

    port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def set(self, latency: Latency) -> None:
        """Change the latency and forget what was seen."""
        query = f"latency_ms={latency.latency_ms}&slow_percent={latency.slow_percent}"
        self._ask(f"/set?{query}&slow_ms={latency.slow_ms}")

    def seen(self) -> Seen:
        return Seen(**json.loads(self._ask("/stats")))

    def _ask(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            data: bytes = response.read()
        return data


def build(binary: Path) -> None:
    """Compile the server where that has not been done. Raises SystemExit without a compiler."""
    if binary.exists() and binary.stat().st_mtime >= SOURCE.stat().st_mtime:
        return
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise SystemExit("bench: the mock server is written in C++ and needs g++ (or clang++)")
    command: list[str | Path] = [compiler, "-O2", "-std=c++17", "-o", binary, SOURCE]
    subprocess.run(command, check=True)


@contextmanager
def serving(binary: Path) -> Iterator[Server]:
    """A server on a free port, for as long as the block lasts."""
    process = subprocess.Popen([binary, "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(int(process.stdout.readline().rsplit(" ", 1)[1]))
    finally:
        process.terminate()
        process.wait()
