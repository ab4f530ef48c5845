"""A run as an array of jobs: the script, and an array that really runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from cli.commands import document, mirage, process
from trust.trial import Trial, questions

from mirage.engines.mock import Behaviour, MockServer, running
from mirage.errors import RunError
from mirage.scale import slurm
from mirage.scale.slurm import Allocation, Submitted

from . import slurm_stand_in

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=mirage-reformat
#SBATCH --array=0-3
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --output=/runs/reformat/slurm/%A_%a.log
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@90
#SBATCH --account=lab
#SBATCH --time=4:00:00
#SBATCH --gpus-per-task=1
#SBATCH --exclude=node7

set -euo pipefail
source '/home/me/my env.sh'
exec apptainer exec mirage.sif python -m mirage run 'a b.yaml'
"""


def test_the_script_of_an_array() -> None:
    """What was asked for, an option a line; words of the shell are quoted."""
    wants = Allocation(
        4,
        account="lab",
        time="4:00:00",
        gpus="1",
        grace=90,
        lines=["--exclude=node7"],
        environment=Path("/home/me/my env.sh"),
        container="mirage.sif",
    )
    command = ["python", "-m", "mirage", "run", "a b.yaml"]
    assert slurm.script("reformat", Path("/runs/reformat/slurm"), command, wants) == SCRIPT


def test_a_folder_of_any_name() -> None:
    """sbatch reads quotes and backslashes, a comment sign, and patterns behind `%`."""
    text = slurm.script("x", Path('/a "b" \\c/100%A'), ["true"], Allocation(1))
    assert '#SBATCH --output="/a \\"b\\" \\\\c/100%%A/%A_%a.log"' in text.splitlines()
    assert '#SBATCH --account="a#b"' in slurm.script("x", Path(), [], Allocation(1, account="a#b"))


def test_an_option_of_several_lines() -> None:
    """Nothing that a flag says becomes a command of the script."""
    with pytest.raises(ValueError, match="one line"):
        slurm.script("x", Path(), ["true"], Allocation(1, account="lab\nrm -rf /"))


@pytest.mark.parametrize("lines", [["--exclude=a\nrm -rf /"]])
def test_a_further_line_is_one_line(lines: list[str]) -> None:
    """The same for the lines that are taken as they are."""
    with pytest.raises(ValueError, match="one line"):
        slurm.script("x", Path(), ["true"], Allocation(1, lines=lines))


def test_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has none says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="no squeue here"):
        slurm.waiting([Submitted("1", 1)])
    assert slurm.waiting([]) == []


@pytest.fixture
def server() -> Iterator[MockServer]:
    with running(Behaviour(latency=0.02)) as server:
        yield server


@pytest.fixture
def trial(tmp_path: Path, server: MockServer) -> Trial:
    trial = Trial(tmp_path, questions(600), server.base_url, run={"block_rows": 40})
    trial.set(run={"dir": str(tmp_path / 'it\'s a "run"')})
    (tmp_path / "config.yaml").write_bytes(orjson.dumps(trial.config))
    return trial


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[dict[str, str]]:
    yield slurm_stand_in.install(tmp_path)
    slurm_stand_in.wait(tmp_path, 60)


def launch(trial: Trial, cluster: dict[str, str], *words: str) -> dict[str, object]:
    config = trial.folder / "config.yaml"
    code, out, err = process("launch", config, "--json", *words, cwd=None, **cluster)
    assert code == 0, err
    found: dict[str, object] = document(out)
    return found


def test_an_array_makes_the_dataset(
    tmp_path: Path, trial: Trial, server: MockServer, cluster: dict[str, str]
) -> None:
    """Of four jobs, byte for byte what one process makes; each row is asked about once."""
    found = launch(trial, cluster, "--nodes", "4")
    assert found["tasks"] == 4
    slurm_stand_in.wait(tmp_path, 60)
    assert server.stats.calls == 600
    data = trial.data()
    assert launch(trial, cluster, "--nodes", "4")["reason"] == "nothing is owed"
    trial.forget()
    trial.run()
    assert trial.data() == data


def test_jobs_out_of_time(
    tmp_path: Path, trial: Trial, server: MockServer, cluster: dict[str, str]
) -> None:
    """SIGUSR1 to all: they leave in time; another launch does the rest, and no call is repeated."""
    launch(trial, cluster, "--nodes", "2")
    while server.stats.calls < 100:
        pass
    jobs = orjson.loads((tmp_path / "slurm" / "1000.json").read_bytes())
    for pid in jobs.values():
        os.kill(pid, signal.SIGUSR1)
    slurm_stand_in.wait(tmp_path, 60)
    assert not trial.target.exists()
    assert launch(trial, cluster, "--nodes", "3")["tasks"] == 3
    slurm_stand_in.wait(tmp_path, 60)
    assert server.stats.calls == 600
    assert trial.target.exists()


def test_jobs_that_are_still_there(
    trial: Trial, server: MockServer, cluster: dict[str, str]
) -> None:
    """Those that wait or run are counted: a second launch adds what is missing only."""
    server.behaviour = Behaviour(latency=0.5)
    launch(trial, cluster, "--nodes", "2")
    assert launch(trial, cluster, "--nodes", "2")["reason"] == "2 jobs are there"
    assert launch(trial, cluster, "--nodes", "3")["tasks"] == 1


def test_a_script_that_is_only_shown(trial: Trial) -> None:
    """`--print` submits nothing, and needs no cluster."""
    result = mirage("launch", trial.folder / "config.yaml", "--nodes", "2", "--print")
    assert result.exit_code == 0
    assert "#SBATCH --array=0-1" in result.output
    assert "--join 2" in result.output
    assert not (trial.run_dir / "slurm").exists()
