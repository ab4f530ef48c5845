"""Servers that run as jobs of SLURM, which a stand-in tells of."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from trust.trial import Trial, questions

from mirage.api import check
from mirage.errors import ConfigError, RunError
from mirage.scale import slurm
from mirage.scale.servers.jobs import LISTING, jobs

from . import stand_ins

QUEUE = """\
RUNNING|n[1-2]|None|71|71|vllm
RUNNING|n3|None|80_0|80|serving
RUNNING|n2|None|80_1|80|serving
PENDING||Resources|80_[2-3]|80|serving
RUNNING|n9|None|81|81|a job | of another name
PENDING||Dependency|90|90|later
SUSPENDED|n4|None|91|91|later
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", stand_ins.slurm(tmp_path / "bin", QUEUE))
    return tmp_path / "bin"


@pytest.mark.parametrize(
    ("text", "nodes", "port"),
    [
        ("vllm", ["n1", "n2"], 8000),
        ("vllm:30000", ["n1", "n2"], 30000),
        ("71", ["n1", "n2"], 8000),
        ("serving", ["n3", "n2"], 8000),
        ("80:9", ["n3", "n2"], 9),
        ("80_1", ["n2"], 8000),
    ],
)
def test_a_server_on_each_node(commands: Path, text: str, nodes: list[str], port: int) -> None:
    """Of the job with this name or id, of an array or one of its tasks; others are left alone."""
    assert jobs(text)() == [f"http://{node}:{port}/v1" for node in nodes]


def test_several_jobs_on_one_node(commands: Path) -> None:
    """A server is told once."""
    (commands / "squeue.jobs").write_text(QUEUE.replace("n3", "n2"))
    assert jobs("serving")() == ["http://n2:8000/v1"]


@pytest.mark.parametrize(
    "text", ["", ":8000", "a b", "a:b", "a:", "a:0", "a:65536", "a:1:2", "a\n"]
)
def test_what_names_no_job(text: str) -> None:
    """It is a mistake before SLURM is asked."""
    with pytest.raises(ValueError, match="name a job"):
        jobs(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("later", r"does not run yet: it is pending \(Dependency\), suspended \(None\)"),
        ("another", "no job of yours with the name or id another"),
        ("--help", "no job of yours"),
    ],
)
def test_a_job_that_does_not_run(commands: Path, text: str, says: str) -> None:
    """It waits, or is not there. Its name is no word of a command."""
    with pytest.raises(ValueError, match=says):
        jobs(text)()
    assert (commands / "squeue.asked").read_text().split() == LISTING[1:]


@pytest.mark.parametrize(
    ("squeue", "says"),
    [
        ("echo squeue: error: no >&2; echo never >&2; exit 1", "^squeue: error: no; never$"),
        ("exec sleep 20", "squeue does not answer"),
    ],
)
def test_a_slurm_that_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, squeue: str, says: str
) -> None:
    """It says no, or nothing for too long."""
    monkeypatch.setenv("PATH", stand_ins.slurm(tmp_path / "bin", "", squeue=squeue))
    monkeypatch.setattr(slurm, "PATIENCE_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(RunError, match=says):
        jobs("vllm")()
    assert time.monotonic() - began < 10


def test_a_check_needs_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a run asks; that there is nobody to ask is then a mistake with its place."""
    monkeypatch.setenv("PATH", str(tmp_path))
    trial = Trial(tmp_path, questions(3), "slurm:vllm")
    assert check(trial.config).engines["default"].capacity == 16
    with pytest.raises(ConfigError, match=r"engine.base_url: there is no squeue here"):
        trial.run()
    trial.set(engine={"base_url": "slurm:"})
    with pytest.raises(ConfigError, match=r"engine.base_url: name a job"):
        check(trial.config)
