"""Servers that MIRAGE starts: real processes, in which a stand-in takes the place of the model."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirage.config.models import EngineConfig
from mirage.engines import describe, open_engine
from mirage.engines.gpu import launch, server
from mirage.engines.gpu.launch import LaunchedEngine
from mirage.errors import ConfigError, RunError, StoppedError
from mirage.record import Completion, Engine

from ..asking import COLOUR, ask, request
from .standin import install

TESTS = Path(__file__).parents[2]
Opened = Callable[..., LaunchedEngine]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins instead of both packages; the folder in which their starts are noted."""
    packages, folder, logs = tmp_path / "packages", tmp_path / "notes", tmp_path / "logs"
    for each in (folder, logs):
        each.mkdir()
    install(packages)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(packages), str(TESTS))))
    monkeypatch.setenv("STANDIN_NOTES", str(folder))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.setattr(tempfile, "tempdir", str(logs))
    monkeypatch.setenv("TMPDIR", str(logs))
    return folder


@pytest.fixture
def opened(notes: Path, tmp_path: Path) -> Opened:
    def build(backend: str = "sglang", **keys: Any) -> LaunchedEngine:
        args = {"start_timeout": 60, **keys.pop("args", {})}
        config = EngineConfig(model_path="org/model", launch=True, args=args, **keys)
        engine = open_engine(config, backend=backend, name="engine", base=tmp_path)
        assert isinstance(engine, LaunchedEngine)
        return engine

    return build


def started(notes: Path) -> list[dict[str, Any]]:
    """What every start of a server has noted, in order."""
    files = sorted(notes.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in files]


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def everybody(notes: Path) -> list[int]:
    return [pid for note in started(notes) for pid in note["pids"]]


def gone(notes: Path, seconds: float = 20) -> bool:
    """Whether all that was ever started ends within a time."""
    until = time.monotonic() + seconds
    while (left := [pid for pid in everybody(notes) if alive(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    return bool(everybody(notes)) and not left


def completions(found: list[Completion | BaseException]) -> list[str]:
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each.text for each in found if isinstance(each, Completion)]


@pytest.mark.parametrize("backend", ["sglang", "vllm"])
def test_a_server_is_started_asked_and_ended(
    opened: Opened, notes: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds answer like any endpoint, schemas included; nothing of them is left afterwards."""
    monkeypatch.setenv("STANDIN_DELAY", "0.3")
    engine = opened(backend)
    asked = [request(f"question {n}", schema=COLOUR) for n in range(20)]
    texts = completions(asyncio.run(ask(engine, *asked)))
    assert len({*texts}) > 1 and all(json.loads(text)["colour"] for text in texts)
    (note,) = started(notes)
    assert note["model"] == "org/model" and note["gpus"] is None
    assert gone(notes, 0)
    assert not list((notes.parent / "logs").iterdir())


def test_the_key_is_on_no_command_line(opened: Opened, notes: Path) -> None:
    """The random key is seen neither in the arguments nor in what the manifest says."""

    async def seen(engine: LaunchedEngine) -> tuple[str, dict[str, Any]]:
        await engine.start()
        try:
            (only,) = engine._servers
            return only._key, describe(engine)
        finally:
            await engine.close()

    for backend in ("sglang", "vllm"):
        key, described = asyncio.run(seen(opened(backend)))
        assert len(key) > 20
        assert key not in json.dumps([note["argv"] for note in started(notes)])
        assert key not in repr(described)
        assert described["servers"] == 1


def test_arguments_reach_the_server(opened: Opened, notes: Path, tmp_path: Path) -> None:
    """Switches, numbers, lists, mappings and templates arrive as the server reads them."""
    (tmp_path / "chat.txt").write_text("{{ messages }}")
    args: dict[str, Any] = {
        "tp_size": 2,
        "trust_remote_code": True,
        "enable_metrics": False,
        "dtype": None,
    }
    args |= {"lora_target_modules": ["a", "b"], "mem_fraction_static": 0.8}
    completions(asyncio.run(ask(opened(chat_template="chat.txt", args=args), request("x"))))
    given = started(notes)[0]["given"]
    assert given["tp_size"] == 2 and given["trust_remote_code"] and not given["enable_metrics"]
    assert float(given["mem_fraction_static"]) == 0.8 and given["dtype"] is None
    assert given["lora_target_modules"] == ["a", "b"]
    assert given["sampling_defaults"] == "openai"
    assert Path(given["chat_template"]).suffix == ".jinja"


def test_vllms_arguments_reach_it(opened: Opened, notes: Path) -> None:
    """Its switches can be turned off, and mappings go as JSON."""
    args: dict[str, Any] = {
        "tensor_parallel_size": 1,
        "enable_prefix_caching": False,
        "enforce_eager": True,
    }
    args |= {"limit_mm_per_prompt": {"image": 4}, "generation_config": "auto"}
    completions(asyncio.run(ask(opened("vllm", args=args, chat_template="{{ x }}"), request("x"))))
    given = started(notes)[0]["given"]
    assert given["enable_prefix_caching"] is False and given["enforce_eager"] is True
    assert json.loads(given["limit_mm_per_prompt"]) == {"image": 4}
    assert given["generation_config"] == "auto"


def test_one_server_for_each_group_of_gpus(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four GPUs and groups of two are two servers, each with GPUs and a port of its own."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    engine = opened(args={"tp_size": 2})
    assert engine.capacity == 2 * 256
    completions(asyncio.run(ask(engine, *(request(f"{n}") for n in range(40)))))
    notes_of = started(notes)
    assert sorted(note["gpus"] for note in notes_of) == ["4,5", "6,7"]
    assert len({note["given"]["port"] for note in notes_of}) == 2


def test_more_gpus_than_there_are(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot fit is said before a server is started."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(RunError, match="3 x 1 GPUs are asked for, 2 can be seen"):
        asyncio.run(opened(args={"replicas": 3}).start())


def test_a_server_that_dies_at_start_shows_its_log(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error holds the exit code and the log's end, without the key; nothing is left behind."""
    monkeypatch.setenv("STANDIN_DIES", "start")
    monkeypatch.setenv("STANDIN_FAMILY", "1")
    monkeypatch.setattr(server, "GRACE", 0.5)
    with pytest.raises(
        RunError, match=r"(?s)ended with code 1 .*CUDA out of memory; the key is \*\*\*"
    ) as e:
        asyncio.run(opened(args={"replicas": 2}).start())
    assert "the server of SGLang" in str(e.value)
    assert gone(notes)
    names = {path.name for path in (notes.parent / "logs").glob("*/*")}
    assert names == {"server-0.log", "server-1.log"}


def test_logs_of_servers_in_trouble_are_kept(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run closes its engines in the end: the log that the error names is still there."""
    monkeypatch.setenv("STANDIN_DIES", "start")

    async def run(engine: LaunchedEngine) -> None:
        with pytest.raises(RunError):
            await engine.start()
        await engine.close()

    asyncio.run(run(opened()))
    assert list((notes.parent / "logs").glob("*/server-0.log"))


def test_a_server_that_never_gets_healthy(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Waiting is bounded, and says now and then that it waits."""
    monkeypatch.setenv("STANDIN_HANGS", "1")
    monkeypatch.setattr(launch, "SAY_AFTER", 0.2)
    with pytest.raises(RunError, match=r"did not answer within 1\.5 s"):
        asyncio.run(opened(args={"start_timeout": 1.5}).start())
    assert "SGLang: 0 of 1 servers answer after" in capsys.readouterr().err
    assert gone(notes)


def test_a_dead_server_is_started_again(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that dies in mid-run comes back on its port; no call is lost."""
    monkeypatch.setenv("STANDIN_DIES", "10")
    monkeypatch.setenv("STANDIN_DEATHS", "2")
    monkeypatch.setenv("STANDIN_LATENCY", "0.01")
    asked = [request(f"{n}") for n in range(60)]
    texts = completions(asyncio.run(ask(opened(max_in_flight=8), *asked)))
    assert len(texts) == 60
    ports = [note["given"]["port"] for note in started(notes)]
    assert len(ports) == 3 and len({*ports}) == 1
    assert "has ended with code 137: starting it again" in capsys.readouterr().err
    assert gone(notes, 0)


def test_one_of_two_dies_and_the_other_goes_on(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls of a dead server go to the other one meanwhile."""
    monkeypatch.setenv("STANDIN_DIES", "15")
    monkeypatch.setenv("STANDIN_DEATHS", "1")
    monkeypatch.setenv("STANDIN_LATENCY", "0.01")
    engine = opened(max_in_flight=16, args={"replicas": 2})
    assert len(completions(asyncio.run(ask(engine, *(request(f"{n}") for n in range(200)))))) == 200
    assert gone(notes, 0)


def test_a_server_that_keeps_dying_stops_the_run(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few restarts the run ends, its records owed; it does not go on for ever."""
    monkeypatch.setenv("STANDIN_DIES", "0")
    found = asyncio.run(ask(opened(retries=100), request("x")))
    assert isinstance(found[0], StoppedError)
    assert f"has ended {launch.RESTARTS + 1} times" in str(found[0])
    assert len(started(notes)) == launch.RESTARTS + 1
    assert gone(notes, 0)


def test_stubborn_processes_end_too(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server has started, heeds no SIGTERM, or has a session of its own, ends with it."""
    monkeypatch.setenv("STANDIN_FAMILY", "1")
    monkeypatch.setattr(server, "GRACE", 0.5)
    completions(asyncio.run(ask(opened(), request("x"))))
    assert len(everybody(notes)) == 3
    assert gone(notes, 0)


def test_a_start_that_is_cancelled_leaves_nothing(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while servers load ends them."""
    monkeypatch.setenv("STANDIN_DELAY", "30")

    async def interrupted() -> None:
        start = asyncio.create_task(opened().start())
        while not started(notes):
            await asyncio.sleep(0.05)
        start.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await start

    asyncio.run(asyncio.wait_for(interrupted(), 30))
    assert gone(notes, 0)


def test_a_start_is_given_up_when_the_run_is_stopped(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first Ctrl-C does not wait for servers that still load."""
    monkeypatch.setenv("STANDIN_DELAY", "30")

    async def halted(engine: LaunchedEngine) -> None:
        start = asyncio.create_task(engine.start())
        while not started(notes):
            await asyncio.sleep(0.05)
        engine.halt()
        with pytest.raises(StoppedError, match="stopped before the servers answered"):
            await start

    asyncio.run(asyncio.wait_for(halted(opened()), 20))
    assert gone(notes, 0)


PROGRAM = """
import asyncio, os, sys, time
from pathlib import Path
from mirage.config.models import EngineConfig
from mirage.engines import open_engine
from mirage.engines.gpu import server
server.GRACE = 0.5
config = EngineConfig(model_path="m", launch=True, args={"replicas": 2})
engine = open_engine(config, backend="vllm", name="engine", base=Path())
async def main():
    await engine.start()
    if "fork" in sys.argv and not os.fork():
        time.sleep(60)
        os._exit(0)
    print("up", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("how", "fork"),
    [
        (signal.SIGKILL, ""),
        (signal.SIGKILL, "fork"),
        (signal.SIGTERM, ""),
        (signal.SIGINT, ""),
    ],
)
def test_servers_end_with_the_process(
    notes: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals, fork: str
) -> None:
    """However this process ends, `kill -9` included, no server and no child of one outlives it;
    not even where a forked child of this process lives on with its files open.
    """
    monkeypatch.setenv("STANDIN_FAMILY", "1")
    command = [sys.executable, "-c", PROGRAM, fork]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert len(everybody(notes)) == 6
        process.send_signal(how)
        process.wait(20)
        left = not gone(notes)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the forked child
    assert not left


def test_a_supervisor_that_is_killed_takes_the_server_along(
    opened: Opened, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should the process in between be killed, its server goes, with all of its group, and another
    one is started.
    """
    monkeypatch.setenv("STANDIN_FAMILY", "1")
    monkeypatch.setattr(server, "GRACE", 0.5)

    async def killed(engine: LaunchedEngine) -> list[Completion | BaseException]:
        await engine.start()
        try:
            (only,) = engine._servers
            first = only.pid
            os.kill(first, signal.SIGKILL)
            while only.pid == first or not only.healthy:
                await asyncio.sleep(0.05)
            return [await engine.complete(request("x"))]
        finally:
            await engine.close()

    assert completions(asyncio.run(asyncio.wait_for(killed(opened()), 60)))
    first, second = (note["pids"] for note in started(notes))
    assert not any(map(alive, (*first[:2], *second)))
    os.kill(first[2], signal.SIGKILL)  # in a session of its own, and nobody knew it any more


def test_a_port_is_nobody_elses() -> None:
    """A port that is kept is given to nobody, and the server can bind it, again and again."""
    port = server.Port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port.number))
    for _ in range(2):  # a server, and the one after it
        with socket.socket() as served:
            served.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            served.bind(("127.0.0.1", port.number))
            served.listen()
    port.close()


class Stranger(http.server.BaseHTTPRequestHandler):
    """A server that is healthy, asks for no key, and serves another model."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "another"}]}')

    def log_message(self, *_: object) -> None:
        pass


def test_somebody_elses_server_is_not_ours(tmp_path: Path) -> None:
    """What answers on the port under another model's name is not taken for the server."""
    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        for model, ours in (("mirage-1", False), ("another", True)):
            log = tmp_path / "log"
            asked = server.Server(lambda port: [], environment={}, log=log, model=model, key="k")
            asked.close()
            asked._port.number = stranger.server_port
            assert asked._answers() == ours
        stranger.shutdown()


def test_only_servers_have_replicas_and_only_two_kinds_are_launched(tmp_path: Path) -> None:
    """`launch` with another backend, and its arguments without it, are mistakes."""
    with pytest.raises(ConfigError, match="only sglang and vllm can be launched"):
        open_engine(EngineConfig(launch=True), backend="fake", name="engine", base=tmp_path)


def test_engines_are_what_the_protocol_says(opened: Opened) -> None:
    """Before it is started it has a window, a capacity and abilities already."""
    engine: Engine = opened(max_in_flight=7)
    assert engine.capacity == 7 and engine.abilities.schema
