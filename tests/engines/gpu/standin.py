"""A process that behaves as SGLang's and vLLM's servers do, with no model behind it.

It takes exactly the flags that are recorded of them, is healthy only after a while, serves the
model under the name that it was given, and can die, hang and leave processes behind, as its
environment says:

    STANDIN_NOTES    a folder, to which every start adds a file `PID.json`
    STANDIN_DELAY    seconds until it is healthy
    STANDIN_DIES     "start", or the number of calls after which it kills itself
    STANDIN_DEATHS   how many of the starts die (all of them)
    STANDIN_HANGS    whether the health check is never answered with 200
    STANDIN_FAMILY   whether it starts processes that heed no SIGTERM, one in a session of its own
    STANDIN_LATENCY  seconds for one call
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson

from mirage.engines.gpu.signatures import recorded
from mirage.engines.mock import Behaviour, MockServer
from mirage.engines.mock_http import Connection, Reply

PACKAGES = {
    "sglang/__init__.py": "",
    "sglang/launch_server.py": "from engines.gpu.standin import main\nmain('sglang')\n",
    "vllm/__init__.py": "",
    "vllm/entrypoints/__init__.py": "",
    "vllm/entrypoints/cli/__init__.py": "",
    "vllm/entrypoints/cli/main.py": "from engines.gpu.standin import main\nmain('vllm')\n",
}
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(120)\n"


def install(folder: Path) -> None:
    """Write packages whose servers are this process; their folder goes to PYTHONPATH."""
    for name, text in PACKAGES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def setting(name: str, default: str = "") -> str:
    return os.environ.get(f"STANDIN_{name}", default)


class StandIn(MockServer):
    def __init__(self, key: str, model: str, start: int) -> None:
        super().__init__(Behaviour(api_key=key, latency=float(setting("LATENCY", "0"))))
        self._model = model
        self._ready = time.monotonic() + float(setting("DELAY", "0"))
        self._start = start

    def get(self, path: str) -> Reply:
        if path == "/health":
            healthy = time.monotonic() >= self._ready and not setting("HANGS")
            return Reply(200 if healthy else 404, b"")
        if path == "/v1/models":
            return Reply(200, orjson.dumps({"data": [{"id": self._model}]}))
        return super().get(path)

    def chat(self, body: bytes, key: str) -> tuple[Reply | None, float]:
        dies = setting("DIES")
        if dies.isdecimal() and self.stats.calls + 1 > int(dies) and self._dies():
            os.kill(os.getpid(), signal.SIGKILL)
        if orjson.loads(body)["model"] != self._model:
            return Reply(404, b'{"error": "another model"}'), 0.0
        return super().chat(body, key)

    def _dies(self) -> bool:
        return self._start <= int(setting("DEATHS", "1000"))


def parser(package: str) -> argparse.ArgumentParser:
    """Flags and their values, as recorded."""
    known = recorded(package)
    found = argparse.ArgumentParser(allow_abbrev=False)
    found.add_argument("--config")
    for name, kind in {**known.arguments, **known.server}.items():
        flag = known.flags.get(name, f"--{name.replace('_', '-')}")
        if not flag:
            continue
        if kind == "bool" or (package == "vllm" and kind == "bool | None"):
            switch = "store_true" if package == "sglang" else argparse.BooleanOptionalAction
            found.add_argument(flag, action=switch)
        elif "ist[" in kind and name not in known.parsed:
            found.add_argument(flag, nargs="+")
        else:
            found.add_argument(flag, type={"int": int, "float": float}.get(kind, str))
    return found


def key_of(package: str, config: str | None) -> str:
    if package == "vllm":
        return os.environ["VLLM_API_KEY"]
    path = Path(config or "")
    assert path.stat().st_mode & 0o077 == 0, "others can read the key"
    name, _, key = path.read_text().strip().partition(": ")
    assert name == "api-key"
    return key


def number(notes: Path) -> int:
    """Which start this is, counted from 1, also where several start at once."""
    for count in range(1, 1000):
        with contextlib.suppress(FileExistsError):
            (notes / f"start-{count}").touch(exist_ok=False)
            return count
    raise RuntimeError("too many starts")


def family() -> list[int]:
    children = [
        subprocess.Popen([sys.executable, "-c", STUBBORN], start_new_session=apart)
        for apart in (False, True)
    ]
    return [child.pid for child in children]


async def serve(server: StandIn, port: int) -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", port)
    async with listening:
        await listening.serve_forever()


def main(package: str) -> None:
    words = sys.argv[1:]
    if package == "vllm":
        assert words[0] == "serve"
        model, words = words[1], words[2:]
    given = parser(package).parse_args(words)
    model = given.model_path if package == "sglang" else model
    served = given.served_model_name
    name = served if isinstance(served, str) else served[0]
    notes = Path(setting("NOTES"))
    start = number(notes)
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    note = {"argv": sys.argv, "model": model, "gpus": gpus, "given": vars(given)}
    note |= {"pids": [os.getpid(), *(family() if setting("FAMILY") else [])]}
    print(f"stand-in {start} of {package} on port {given.port}", file=sys.stderr, flush=True)
    key = key_of(package, given.config)
    (notes / f"{os.getpid()}.json").write_text(json.dumps(note))
    if setting("DIES") == "start" and start <= int(setting("DEATHS", "1000")):
        raise SystemExit(f"CUDA out of memory; the key is {key}")
    asyncio.run(serve(StandIn(key, name, start), given.port))
