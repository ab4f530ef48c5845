"""Runs and servers on a real SLURM, brought up on this machine; tests/scale has a stand-in."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from cli.commands import document, mirage, process
from trust.trial import Trial, questions

from mirage.engines.mock import Behaviour, MockServer, running

from . import slurm_here

pytestmark = [
    pytest.mark.scale,
    pytest.mark.skipif(
        bool(slurm_here.missing()),
        reason=f"no SLURM here ({', '.join(slurm_here.missing())}: apt-get install slurm-wlm "
        "munge); tests/scale/test_slurm.py has run on its stand-in",
    ),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with slurm_here.cluster(tmp_path_factory.mktemp("slurm")) as env:
        yield env


@pytest.fixture
def server() -> Iterator[MockServer]:
    with running(Behaviour(latency=0.05)) as server:
        yield server


@pytest.fixture
def trial(tmp_path: Path, server: MockServer) -> Trial:
    trial = Trial(tmp_path, questions(600), server.base_url, run={"block_rows": 40})
    trial.set(run={"dir": str(tmp_path / 'it\'s a "run" of 100%A')})
    (tmp_path / "config.yaml").write_bytes(orjson.dumps(trial.config))
    return trial


def launch(trial: Trial, env: dict[str, str], *words: str) -> dict[str, object]:
    config = trial.folder / "config.yaml"
    code, out, err = process("launch", config, "--json", *words, cwd=None, **env)
    assert code == 0, (out, err)
    found: dict[str, object] = document(out)
    return found


def test_an_array_of_four(trial: Trial, server: MockServer, cluster: dict[str, str]) -> None:
    """Byte for byte what one process makes, each row asked about once; each job has its log."""
    assert launch(trial, cluster, "--nodes", "4", '--sbatch=--comment="a b"')["tasks"] == 4
    slurm_here.wait(cluster, 120)
    assert server.stats.calls == 600
    assert len(list((trial.run_dir / "slurm").glob("*_[0-3].log"))) == 4
    data = trial.data()
    assert launch(trial, cluster, "--nodes", "4")["reason"] == "nothing is owed"
    trial.forget()
    trial.run()
    assert trial.data() == data


def test_jobs_out_of_time(
    trial: Trial, server: MockServer, cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM itself sends SIGUSR1: they finish their calls; the next array does the rest."""
    server.behaviour = Behaviour(latency=2.0)
    launch(trial, cluster, "--nodes", "2", "--time", "1", "--grace", "50")
    slurm_here.until(lambda: server.stats.calls > 20, 60)
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    shown = mirage("status", trial.run_dir).stdout
    assert "_0 running" in shown
    slurm_here.wait(cluster, 120)
    assert not trial.target.exists()
    logs = [path.read_text() for path in (trial.run_dir / "slurm").glob("*.log")]
    assert any("interrupted" in log for log in logs)
    server.behaviour = Behaviour(latency=0.01)
    assert launch(trial, cluster, "--nodes", "2")["tasks"] == 2
    slurm_here.wait(cluster, 120)
    assert server.stats.calls == 600
    assert len(trial.output()) == 600


def submitted(env: dict[str, str], name: str, *words: str) -> str:
    """The id of a job."""
    job = slurm_here.asked(["sbatch", "--parsable", f"--job-name={name}", *words], env).strip()
    assert job.isdecimal()
    return job


def asking(trial: Trial, servers: str, env: dict[str, str]) -> dict[str, object]:
    """What a run says of itself, with the servers that SLURM tells of."""
    trial.set(engine={"base_url": f"slurm:{servers}"})
    (trial.folder / "config.yaml").write_bytes(orjson.dumps(trial.config))
    _, out, _ = process("run", trial.folder / "config.yaml", "--json", cwd=None, **env)
    found: dict[str, object] = document(out)
    return found


def test_servers_in_a_job(tmp_path: Path, cluster: dict[str, str]) -> None:
    """A run finds them by the job's name, its id and its task, and says when the job waits."""
    port = slurm_here.free_ports()["daemon"]
    words = ["-m", "mirage", "mock-server", "--host", "0.0.0.0", "--port", str(port)]
    log = tmp_path / "server.log"
    wrap = f"--wrap=exec {shlex.join([sys.executable, *words])}"
    job = submitted(cluster, "servers", "--array=3", f"--output={log}", wrap)
    submitted(cluster, "later", "--begin=now+1hour", "--wrap=true")
    slurm_here.until(lambda: log.exists() and "fake endpoint" in log.read_text())
    trial = Trial(tmp_path, questions(20), "slurm:servers")
    for rows, name in enumerate(("servers", job, f"{job}_3"), 20):
        trial.write(questions(rows))
        assert f"'written': {rows}" in str(asking(trial, f"{name}:{port}", cluster))
    told = str(asking(trial, "later", cluster))
    assert "the job later does not run yet: it is pending (BeginTime)" in told
    assert "no job of yours with the name or id 4711" in str(asking(trial, "4711", cluster))
    slurm_here.asked(["scancel", f"--user={slurm_here.who()}"], cluster)
    slurm_here.wait(cluster, 60)
