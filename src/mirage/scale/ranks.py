"""Which rank a launcher has made of this process: `torchrun`, `accelerate launch`, or our own.

They all say it in the variables RANK and WORLD_SIZE (PyTorch's torch.distributed.run).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mirage.errors import ConfigError, Mistake
from mirage.work.rank import ALONE, Rank

LAUNCH, PARENT = "MIRAGE_LAUNCH", "MIRAGE_PARENT"
NAMES = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")
ASKED = ("--num_processes", "--num-processes")


def rank_of(environ: Mapping[str, str], launcher: Sequence[str] = ()) -> Rank:
    """The rank that the environment names; alone where it names none.

    `launcher` is the command line of the process that started this one. Raises ConfigError where
    the variables make no sense, or where the launcher was asked for more ranks than it made:
    `accelerate launch --num_processes 2 --cpu` silently starts one.
    """
    given, count = environ.get("RANK"), environ.get("WORLD_SIZE")
    if given is None or count is None:
        rank = ALONE
    else:
        try:
            launch = environ.get(LAUNCH) or ":".join(environ.get(name, "") for name in NAMES)
            rank = Rank(int(given), int(count), launch, int(environ.get(PARENT, 0)))
        except ValueError:
            rank = Rank(-1, 0)
        if not 0 <= rank.number < rank.count:
            message = f"RANK={given} of WORLD_SIZE={count} is no rank: unset both, or mend them"
            raise ConfigError([Mistake("", message)])
    asked = asked_of(launcher)
    if asked is not None and asked != rank.count:
        message = (
            f"accelerate launch was asked for {asked} processes and started {rank.count}: "
            f"use torchrun --nproc_per_node {asked} -m mirage run …, or --workers {asked}"
        )
        raise ConfigError([Mistake("", message)])
    return rank


def asked_of(command: Sequence[str]) -> int | None:
    """How many processes an `accelerate launch` was asked for; None where it was not, or another
    launcher is meant.
    """
    words = list(command)
    names = [Path(word).name for word in words[:3]]
    if "accelerate" not in names or "launch" not in words:
        return None
    own = words[: words.index("-m")] if "-m" in words else words
    for option in ASKED:
        for at, word in enumerate(own):
            text = word.removeprefix(f"{option}=") if word.startswith(f"{option}=") else ""
            if word == option and at + 1 < len(own):
                text = own[at + 1]
            if text.isdecimal():
                return int(text)
    return None


def parent() -> list[str]:
    """The command line of the process that started this one; empty where that cannot be seen."""
    try:
        line = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(word) for word in line.split(b"\0") if word]
