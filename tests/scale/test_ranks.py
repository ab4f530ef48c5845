"""What launchers say of the ranks they start, and what is made of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mirage.errors import ConfigError
from mirage.scale.ranks import asked_of, parent, rank_of
from mirage.work.rank import ALONE, Rank


def test_no_launcher() -> None:
    """Without its variables a process is alone, and owns the run."""
    assert rank_of({}) == rank_of({"RANK": "1"}) == ALONE
    assert ALONE.owns


def test_what_torchrun_says() -> None:
    """Ranks of one launch have its name in common; a restarted launch has another."""
    said = {"WORLD_SIZE": "2", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}
    ranks = [rank_of({**said, "RANK": str(number)}) for number in range(2)]
    assert [(rank.number, rank.count) for rank in ranks] == [(0, 2), (1, 2)]
    assert ranks[0].launch == ranks[1].launch
    again = rank_of({**said, "RANK": "0", "TORCHELASTIC_RESTART_COUNT": "1"})
    assert again.launch != ranks[0].launch


@pytest.mark.parametrize(
    ("rank", "count"), [("2", "2"), ("-1", "2"), ("x", "2"), ("0", "0"), ("", ""), ("0", "two")]
)
def test_variables_that_make_no_sense(rank: str, count: str) -> None:
    """They are an error that names them."""
    with pytest.raises(ConfigError, match=f"RANK={rank} of WORLD_SIZE={count}"):
        rank_of({"RANK": rank, "WORLD_SIZE": count})


ACCELERATE = ["/usr/bin/python", "/opt/bin/accelerate", "launch"]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([*ACCELERATE, "--num_processes", "2", "--cpu", "-m", "mirage", "run", "x"], 2),
        ([*ACCELERATE, "--num_processes=4", "run.py"], 4),
        ([*ACCELERATE, "-m", "mirage", "run", "--num_processes", "2"], None),
        ([*ACCELERATE, "--num_processes"], None),
        (["accelerate", "env", "--num_processes", "2"], None),
        (["bash", "launch", "--num_processes", "2"], None),
        ([], None),
    ],
)
def test_how_many_accelerate_was_asked_for(words: list[str], asked: int | None) -> None:
    """Only what stands before the module is the launcher's own."""
    assert asked_of(words) == asked


def test_fewer_ranks_than_were_asked_for() -> None:
    """A launcher that silently starts one process is found out."""
    asked = [*ACCELERATE, "--num_processes", "2", "--cpu", "-m", "mirage"]
    with pytest.raises(ConfigError, match="asked for 2 processes and started 1"):
        rank_of({}, asked)
    assert rank_of({"RANK": "0", "WORLD_SIZE": "2"}, asked).count == 2


def test_the_command_that_started_this_one() -> None:
    """It is read off the parent process."""
    code = "from mirage.scale.ranks import parent; print(parent()[-1])"
    command = [sys.executable, "-c", code]
    outer = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:-1]))"
    done = subprocess.run(
        [sys.executable, "-c", outer, *command, "the last word"], capture_output=True, text=True
    )
    assert done.stdout == "the last word\n", done.stderr
    assert parent() == [
        os.fsdecode(word)
        for word in open(f"/proc/{os.getppid()}/cmdline", "rb").read().split(b"\0")  # noqa: SIM115, PTH123
        if word
    ]


@pytest.mark.parametrize(("whole", "shares"), [(64, [22, 21, 21]), (2, [1, 1, 1]), (3, [1, 1, 1])])
def test_shares(whole: int, shares: list[int]) -> None:
    """Shares add up to the whole, where there is enough for each."""
    assert [Rank(number, 3).share(whole) for number in range(3)] == shares
