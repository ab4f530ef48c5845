"""Servers that run as jobs of SLURM: one on each node of theirs, all on one port.

SLURM is asked for all jobs of this user, and those that are meant are chosen here: nothing that a
configuration says becomes a word of a command. See squeue(1) and scontrol(1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from mirage.scale.slurm import STATES, asked

FORM = re.compile(r"(?P<job>[^:\s]+)(:(?P<port>\d{1,5}))?", re.ASCII)
PORT = "8000"
LISTING = ["squeue", "--noheader", "--me", f"--states={STATES}", "--format=%T|%N|%r|%i|%F|%j"]


def jobs(text: str) -> Callable[[], list[str]]:
    """The servers of the job with this name or id (also an array's, or one of its tasks'), as
    `JOB` or `JOB:PORT`.
    """
    found = FORM.fullmatch(text)
    port = int(found["port"] or PORT) if found else 0
    if found is None or not 0 < port < 1 << 16:
        raise ValueError("name a job, and the port of its servers: slurm:JOB:8000")
    return partial(running, found["job"], port)


def running(job: str, port: int) -> list[str]:
    """A server for each node of what runs. Raises ValueError where nothing does, and RunError."""
    nodes, waits = [], set()
    for line in asked(LISTING).splitlines():
        state, places, why, *names = line.strip().split("|", 5)
        if job not in names:
            continue
        if state == "RUNNING":
            nodes.append(places)
        else:
            waits.add(f"{state.lower()} ({why})")
    if not nodes and waits:
        raise ValueError(f"the job {job} does not run yet: it is {', '.join(sorted(waits))}")
    if not nodes:
        raise ValueError(f"SLURM has no job of yours with the name or id {job}")
    hosts = asked(["scontrol", "show", "hostnames", ",".join(nodes)]).split()
    return [f"http://{host}:{port}/v1" for host in dict.fromkeys(hosts)]
