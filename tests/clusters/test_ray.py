"""A run on a Ray cluster of several nodes: the same dataset, whatever becomes of its workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from trust.trial import Trial, questions

from mirage.engines.mock import Behaviour, MockServer, running

pytestmark = pytest.mark.scale
ray = pytest.importorskip("ray", reason="pip install 'mirage-engine[ray]'")

IN_FLIGHT = 12


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes, one CPU each, as processes of this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def server() -> Iterator[MockServer]:
    with running(Behaviour(latency=0.02, jitter=0.01)) as server:
        yield server


def trial_of(tmp_path: Path, server: MockServer, rows: int) -> Trial:
    trial = Trial(tmp_path, questions(rows), server.base_url)
    trial.set(run={"block_rows": 40}, engine={"max_in_flight": IN_FLIGHT})
    (tmp_path / "config.yaml").write_bytes(orjson.dumps(trial.config))
    return trial


def begin(trial: Trial, cluster: Any, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mirage", "run", str(trial.folder / "config.yaml"), "--json"]
    return subprocess.Popen(
        [*command, "--ray", cluster.address, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, err = process.communicate(timeout=240)
    assert out, err
    return process.returncode, orjson.loads(out)


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alone(trial: Trial) -> bytes:
    trial.forget()
    assert trial.run().exit_code == 0
    return trial.data()


def workers(trial: Trial) -> set[int]:
    """The processes that work on blocks now."""
    found = set()
    for lock in trial.run_dir.glob("blocks/*/lock"):
        try:
            found.add(orjson.loads(lock.read_bytes())["pid"])
        except (FileNotFoundError, orjson.JSONDecodeError):
            continue
    return {pid for pid in found if alive(pid)}


def test_three_nodes(tmp_path: Path, server: MockServer, cluster: Any) -> None:
    """One worker on each; byte for byte what one process writes, each row asked about once."""
    trial = trial_of(tmp_path, server, 900)
    process = begin(trial, cluster)
    seen: set[int] = set()
    while process.poll() is None:
        seen |= workers(trial)
        time.sleep(0.05)
    code, summary = end(process)
    assert (code, summary["counts"]["written"], len(seen)) == (0, 900, 3)
    assert server.stats.calls == 900
    assert server.stats.max_in_flight <= IN_FLIGHT
    assert process.pid not in seen
    data = trial.data()
    assert data == alone(trial)


def test_workers_and_a_node_that_die(tmp_path: Path, server: MockServer, cluster: Any) -> None:
    """Ray starts workers again, others do their blocks; no more is repeated than was in flight."""
    trial = trial_of(tmp_path, server, 3_000)
    further = cluster.add_node(num_cpus=1)
    process = begin(trial, cluster, "--workers", "4")
    for calls in (200, 700, 1_200):
        while server.stats.calls < calls or not workers(trial):
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(min(workers(trial)), signal.SIGKILL)
    cluster.remove_node(further, allow_graceful=False)
    code, summary = end(process)
    assert (code, summary["counts"]["written"]) == (0, 3_000)
    assert server.stats.calls - 3_000 <= 4 * IN_FLIGHT
    data = trial.data()
    assert data == alone(trial)


def test_a_driver_that_dies(tmp_path: Path, server: MockServer, cluster: Any) -> None:
    """What is finished is on disk: one process, without Ray, goes on."""
    trial = trial_of(tmp_path, server, 900)
    process = begin(trial, cluster)
    until(lambda: server.stats.calls > 200)
    process.kill()
    process.communicate()
    until(lambda: not any(alive(pid) for pid in workers(trial)))
    server.behaviour = Behaviour()
    assert trial.run().counts.written == 900
    assert server.stats.calls - 900 <= 2 * IN_FLIGHT
    data = trial.data()
    assert data == alone(trial)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_no_cluster(tmp_path: Path, server: MockServer) -> None:
    """An address where nothing answers is a mistake, told in one line."""
    trial = trial_of(tmp_path, server, 10)
    command = [sys.executable, "-m", "mirage", "run", str(trial.folder / "config.yaml")]
    done = subprocess.run(
        [*command, "--ray", "127.0.0.1:1"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "no Ray cluster at 127.0.0.1:1" in done.stderr


def test_a_head_that_dies(
    tmp_path: Path, server: MockServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is finished is on disk: the driver ends, and one process goes on without Ray."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    trial = trial_of(tmp_path, server, 900)
    process = begin(trial, cluster, "--workers", "2")
    until(lambda: server.stats.calls > 200)
    cluster.remove_node(cluster.head_node, allow_graceful=False)
    process.communicate(timeout=240)
    assert process.returncode
    until(lambda: not any(alive(pid) for pid in workers(trial)))
    server.behaviour = Behaviour()
    assert trial.run().counts.written == 900
    assert server.stats.calls - 900 <= 2 * IN_FLIGHT
    cluster.shutdown()
    data = trial.data()
    assert data == alone(trial)
