"""SLURM's commands and Ray's dashboard, as far as servers are looked for with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

SQUEUE = 'echo "$@" > "$0.asked"; cat "$0.jobs"'
SCONTROL = """\
[ "$1 $2" = "show hostnames" ] || exit 1
echo "$3" | sed 's/n\\[1-2\\]/n1,n2/' | tr , '\\n'"""
APPLICATIONS = "/api/serve/applications/"


def slurm(folder: Path, jobs: str, *, squeue: str = SQUEUE) -> str:
    """The PATH on which SLURM is found; `jobs` are lines as `squeue` is asked for them."""
    folder.mkdir(exist_ok=True)
    for name, script in (("squeue", squeue), ("scontrol", SCONTROL)):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    (folder / "squeue.jobs").write_text(jobs)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def application(status: str = "RUNNING", route_prefix: str | None = "/") -> dict[str, Any]:
    return {"status": status, "route_prefix": route_prefix, "message": "", "deployments": {}}


def told(
    *proxies: tuple[str | None, str], options: dict[str, Any] | None = None, **applications: Any
) -> bytes:
    """What the dashboard of Ray 2.60 says of proxies (IP and status) and applications."""
    each = {f"{n:056x}": {"node_ip": ip, "status": s} for n, (ip, s) in enumerate(proxies)}
    whole = {"proxies": each, "applications": applications, "target_capacity": None}
    return orjson.dumps({**whole, "http_options": options} if options else whole)
