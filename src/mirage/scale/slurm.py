"""A run as an array of SLURM jobs: the script, its submission, and which jobs are there.

Every task of the array joins the run by itself (join.py): none waits for another, and a later array
goes on where this one ended. See sbatch(1) and squeue(1).
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
from msgspec import Struct, field
from msgspec.json import encode

from mirage.errors import RunError
from mirage.scale.token import TOKEN

JOBS = "jobs.jsonl"
STATES = "PENDING,RUNNING,CONFIGURING,SUSPENDED,REQUEUED,REQUEUE_HOLD,SPECIAL_EXIT,RESIZING"
PATIENCE_SECONDS = 60


class Allocation(Struct, frozen=True):
    """What each task asks of SLURM. `lines` are further options of sbatch, as they are written
    behind `#SBATCH`; `grace` is how many seconds before the end of its time a task is told.
    """

    tasks: int
    account: str | None = None
    partition: str | None = None
    qos: str | None = None
    time: str | None = None
    reservation: str | None = None
    gpus: str | None = None
    cpus: int | None = None
    memory: str | None = None
    grace: int = 120
    lines: Sequence[str] = ()
    environment: Path | None = None
    container: str | None = None


class Submitted(Struct, frozen=True):
    """An array that was submitted: its job id, how many tasks, when (seconds since the epoch)."""

    job: str
    tasks: int
    time: float = field(default_factory=time.time)


def script(
    name: str, folder: Path, command: Sequence[str], wants: Allocation, token: str = ""
) -> str:
    """The batch script of an array whose every task runs `command`, and finds `token` in the run's
    folder (token.py).

    SIGUSR1 goes to the batch shell, which the command has replaced: it drains, journals and ends.
    """
    options = {
        "job-name": f"mirage-{name}",
        "array": f"0-{wants.tasks - 1}",
        "nodes": "1",
        "ntasks": "1",
        "output": str(folder).replace("%", "%%") + "/%A_%a.log",
        "open-mode": "append",
        "signal": f"B:USR1@{wants.grace}",
        "account": wants.account,
        "partition": wants.partition,
        "qos": wants.qos,
        "time": wants.time,
        "reservation": wants.reservation,
        "gpus-per-task": wants.gpus,
        "cpus-per-task": wants.cpus,
        "mem": wants.memory,
    }
    lines = [f"#SBATCH --{name}={said(value)}" for name, value in options.items() if value]
    lines += [f"#SBATCH {one_line(line)}" for line in wants.lines]
    body = ["set -euo pipefail"]
    if token:
        body.append(f"export {TOKEN}={shlex.quote(token)}")
    if wants.environment is not None:
        body.append(f"source {shlex.quote(str(wants.environment.absolute()))}")
    words = shlex.join(command)
    if wants.container is not None:
        words = f"apptainer exec {shlex.quote(wants.container)} {words}"
    return "\n".join(["#!/bin/bash", *lines, "", *body, f"exec {words}", ""])


def said(value: object) -> str:
    """A value on an #SBATCH line; it is not the shell that reads it."""
    text = one_line(str(value))
    if not set(text) & set(" \t\"'\\#"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError(f"an option of sbatch is one line: {text!r}")
    return text


def submit(text: str, folder: Path, tasks: int) -> Submitted:
    """Submit a script, and note the job. Raises RunError where SLURM refuses it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "array.sh"
    path.write_text(text)
    told = asked(["sbatch", "--parsable", str(path)])
    job = told.strip().splitlines()[-1].partition(";")[0]
    array = Submitted(job, tasks)
    with (folder / JOBS).open("ab") as file:
        file.write(encode(array) + b"\n")
    return array


def submitted(folder: Path) -> list[Submitted]:
    """The arrays that were submitted for a run, in order."""
    try:
        lines = (folder / JOBS).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [Submitted(**orjson.loads(line)) for line in lines if line.endswith(b"}")]


class Task(Struct, frozen=True):
    """One task of an array that SLURM still has: `id` as `1234_0`, and its state in its words."""

    id: str
    state: str
    node: str


def waiting(arrays: Sequence[Submitted]) -> list[Task]:
    """The tasks of these arrays that wait or run. Raises RunError where SLURM cannot be asked."""
    if not arrays:
        return []
    listing = ["squeue", "--noheader", "--array", f"--states={STATES}", "--format=%i|%T|%N"]
    mine = {array.job for array in arrays}
    found = []
    for line in asked([*listing, "--me"]).splitlines():
        id, state, node = (word.strip() for word in line.split("|"))
        if id.partition("_")[0] in mine:
            found.append(Task(id, state, node))
    return found


def asked(command: Sequence[str]) -> str:
    """What a command of SLURM prints. Raises RunError where it is not there, or says no."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    except FileNotFoundError:
        raise RunError(
            f"there is no {command[0]} here: is this a machine of the cluster?"
        ) from None
    except subprocess.TimeoutExpired:
        raise RunError(f"{command[0]} does not answer") from None
    if done.returncode:
        said = done.stderr.strip().replace(f"{command[0]}: ", "").replace("\n", "; ")
        raise RunError(f"{command[0]}: {said or done.returncode}")
    return done.stdout
