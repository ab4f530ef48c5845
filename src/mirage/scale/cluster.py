"""Ranks on a Ray cluster: the driver owns the run, and Ray places those that work on it.

Ray only starts processes and starts them again where they have died (https://docs.ray.io, tasks
and fault tolerance). Blocks are claimed, journalled and finished in the run's folder, as always:
no row passes through the driver or Ray's object store, and whatever becomes of the cluster, what is
finished is on disk.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from mirage.errors import ConfigError, Mistake
from mirage.scale.token import leave, place
from mirage.work.rank import Rank

CONNECT_SECONDS = 5.0
Part = Callable[[Rank], str]
"""A rank's work on a run, in a process that Ray has started; how that has ended, in words."""


class Wanted(Struct, frozen=True):
    """What is asked of Ray: `address` of the cluster, "auto" for the one that this machine belongs
    to, "local" for one of its own; how many workers, as many as their GPUs allow, or one for each
    node, where it is None; and what each of them needs.
    """

    address: str = "auto"
    workers: int | None = None
    gpus: float = 0.0
    cpus: float = 1.0


class Troupe(Struct):
    """The workers of one run on a cluster. `rank` is the driver's own, which does no work."""

    ray: Any
    rank: Rank
    tasks: list[Any]
    ended: list[str] = []

    def trouble(self) -> str:
        """Why the run cannot go on; empty while any worker is there."""
        if self.tasks:
            done, self.tasks = self.ray.wait(self.tasks, num_returns=len(self.tasks), timeout=0)
            self.ended += [self._last_word(task) for task in done]
        if self.tasks:
            return ""
        return f"no worker is left: {self.ended[-1]}" if self.ended else "Ray has no worker"

    def losses(self, state: str) -> list[str]:
        """The workers that have ended otherwise than the run, for people."""
        lost = (word for word in self.ended if not word.startswith(state))
        return [f"a worker has ended: {word}; the others have done its work" for word in lost]

    def _last_word(self, task: Any) -> str:
        try:
            return str(self.ray.get(task))
        except self.ray.exceptions.RayError as exc:
            return f"{type(exc).__name__}: {str(exc).strip().splitlines()[-1]}"


@contextlib.contextmanager
def troupe(wanted: Wanted, part: Part, folder: Path) -> Iterator[Troupe]:
    """Have Ray call `part` in as many workers as are wanted, and again where one has died.

    What Ray prints by itself on stdout goes to a log in the run's `folder`. Raises ConfigError
    where Ray is not installed, or no such cluster answers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = (folder / "ray.log").open("a", encoding="utf-8")
    with log as file, contextlib.redirect_stdout(file):
        ray = connected(wanted.address)
        token = leave(folder)
        try:
            count = wanted.workers or room(ray, wanted)
            rank = Rank(0, count, token, elected=True, works=False)
            needs = {"num_gpus": wanted.gpus, "num_cpus": wanted.cpus, "max_retries": -1}
            task = ray.remote(**needs, scheduling_strategy="SPREAD")(follow)
            tasks = [task.remote(part, count, rank.launch) for _ in range(count)]
            yield Troupe(ray, rank, tasks)
        finally:
            ray.shutdown()
            place(folder, token).unlink(missing_ok=True)


def connected(address: str) -> Any:
    try:
        import ray
    except ImportError:
        message = "Ray is not installed: pip install 'mirage-engine[ray]'"
        raise ConfigError([Mistake("--ray", message)]) from None
    given = {} if address == "local" else {"address": address}
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon and port.isdecimal():  # or Ray would try for minutes
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(**given, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    except (OSError, RuntimeError, ValueError) as exc:
        message = f"no Ray cluster at {address}: {str(exc).strip().splitlines()[0]}"
        raise ConfigError([Mistake("--ray", message)]) from exc
    return ray


def room(ray: Any, wanted: Wanted) -> int:
    """How many workers the cluster has GPUs for; one for each node where they need none."""
    if wanted.gpus:
        return max(int(ray.cluster_resources().get("GPU", 0) / wanted.gpus), 1)
    return sum(node["Alive"] for node in ray.nodes())


def follow(part: Part, count: int, launch: str) -> str:
    """What Ray calls: every attempt is a rank of its own, since what a dead one has told stands."""
    return part(Rank(secrets.randbelow(1 << 31) + 1, count, launch, elected=True))
