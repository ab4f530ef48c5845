"""`sbatch` and `squeue` for a machine without SLURM: the tasks of an array are real processes.

What it understands of sbatch(1): `--array=A-B`, `--output` with %A and %a, `--parsable`, and the
variables that a task finds in its environment. Each call is this file under one of the two names.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ.get("SLURM_STAND_IN", ""))


def sbatch(words: list[str]) -> None:
    script = Path(words[-1])
    text = script.read_text()
    lines = re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE)
    words = [word for line in lines for word in shlex.split(line)]
    options = dict(word.removeprefix("--").split("=", 1) for word in words)
    HOME.mkdir(exist_ok=True)
    job = str(1000 + len(list(HOME.glob("*.json"))))
    first, last = map(int, options["array"].split("-"))
    tasks = {}
    for number in range(first, last + 1):
        log = options["output"].replace("%A", job).replace("%a", str(number)).replace("%%", "%")
        variables = {
            "SLURM_JOB_ID": job,
            "SLURM_ARRAY_JOB_ID": job,
            "SLURM_ARRAY_TASK_ID": str(number),
        }
        with Path(log).open("ab") as file:
            task = subprocess.Popen(
                ["bash", str(script)],
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                env=os.environ | variables,
                start_new_session=True,
            )
        tasks[number] = task.pid
    (HOME / f"{job}.json").write_text(json.dumps(tasks))
    print(job)


def squeue() -> None:
    for file in sorted(HOME.glob("*.json")):
        for number, pid in json.loads(file.read_text()).items():
            if alive(pid):
                print(f"{file.stem}_{number}|RUNNING|{os.uname().nodename}")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def install(folder: Path) -> dict[str, str]:
    """Put both commands into a folder; the environment in which they are found."""
    commands = folder / "bin"
    commands.mkdir()
    for name in ("sbatch", "squeue"):
        path = commands / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        path.chmod(0o755)
    found = f"{commands}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": found, "SLURM_STAND_IN": str(folder / "slurm")}


def wait(folder: Path, seconds: float) -> None:
    """Until every task of every array has ended."""
    deadline = time.monotonic() + seconds
    for file in sorted((folder / "slurm").glob("*.json")):
        for pid in json.loads(file.read_text()).values():
            while alive(pid):
                assert time.monotonic() < deadline, "a task does not end"
                time.sleep(0.05)


if __name__ == "__main__":
    sbatch(sys.argv[2:]) if sys.argv[1] == "sbatch" else squeue()
