"""An array on a real SLURM, brought up on this machine; tests/scale has the same on a stand-in."""

from __future__ import annotations

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
