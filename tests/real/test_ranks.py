"""Real launchers: ranks of torchrun share a run; an `accelerate` that makes one is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

pytestmark = pytest.mark.real

ROWS = 96
LAUNCHERS = Path(sys.executable).parent


@pytest.fixture
def config(tmp_path: Path, checkpoints: Path) -> Path:
    """A prompt for the transformers engine, in blocks of four rows."""
    rows = (orjson.dumps({"q": f"question {n}"}) + b"\n" for n in range(ROWS))
    (tmp_path / "in.jsonl").write_bytes(b"".join(rows))
    (tmp_path / "ask.yaml").write_bytes(
        orjson.dumps(
            {
                "source": {"path": "in.jsonl"},
                "engine": {
                    "backend": "transformers",
                    "model_path": str(checkpoints / "llama"),
                    "args": {"device": "cpu"},
                    "max_in_flight": 2,
                },
                "inputs": [{"name": "q", "key": "q"}],
                "outputs": [{"name": "verdict", "prompt": "{q}", "choices": ["yes", "no"]}],
                "output_schema": {"q": "{q}", "answer": "{choice}"},
                "sink": {"path": "out.jsonl"},
                "run": {"block_rows": 4},
            }
        )
    )
    return tmp_path / "ask.yaml"


def launched(command: Sequence[str | Path], config: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    words: list[str | Path] = [*command, "-m", "mirage", "run", config]
    return subprocess.run(
        words, cwd=config.parent, env=env, capture_output=True, text=True, timeout=240
    )


def test_two_ranks_of_torchrun(config: Path) -> None:
    """They write what one process writes, and both have worked."""
    output, run = config.with_name("out.jsonl"), config.parent / "runs" / "ask"
    torchrun: list[str | Path] = [LAUNCHERS / "torchrun", "--standalone", "--nproc_per_node", "2"]
    done = launched(torchrun, config)
    assert done.returncode == 0, done.stderr
    assert f"read {ROWS} = written {ROWS}" in done.stdout
    shared = output.read_bytes()
    calls = [
        orjson.loads((run / name).read_bytes())["usage"]["calls"]
        for name in ("progress.json", "progress-1.json")
    ]
    assert calls[0] == ROWS
    assert 0 < calls[1] < ROWS
    run.rename(run.with_name("shared"))
    output.unlink()
    assert launched([sys.executable], config).returncode == 0
    assert output.read_bytes() == shared


def test_an_accelerate_that_starts_one_process(config: Path) -> None:
    """It was asked for two: an error says so, and what to do instead."""
    accelerate = LAUNCHERS / "accelerate"
    if not accelerate.exists():
        pytest.skip("accelerate is not installed")
    done = launched([accelerate, "launch", "--num_processes", "2", "--cpu"], config)
    assert done.returncode != 0
    assert "asked for 2 processes and started 1" in done.stderr
    assert not config.with_name("out.jsonl").exists()
