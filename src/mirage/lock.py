"""One process owns a run folder at a time: a lock file made with O_EXCL, kept alive by a heartbeat.

A lock is stale when its process is gone (on this host) or its heartbeat has stopped (on another).
A stale lock is renamed away before a new one is made, so that of two successors only one wins.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from mirage.errors import LockedError

HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 60.0


def process_start(pid: int) -> int:
    """When a process of this host started, in clock ticks since boot; 0 where it is not running.

    Field 22 of /proc/PID/stat (proc(5)); without /proc, 1 for any living process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[19])
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return 0
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return 0
    except PermissionError:
        return 1
    return 1


class Lock:
    """Ownership of `folder`, from `with` to its end. Raises LockedError where another has it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._heartbeat, name="heartbeat", daemon=True)

    def __enter__(self) -> Lock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._acquire():
            self._break_if_stale()
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stop.set()
        self._beat.join()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def _acquire(self) -> bool:
        pid = os.getpid()
        owner = {"host": socket.gethostname(), "pid": pid, "started": process_start(pid)}
        try:
            file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(file, "wb") as out:
            out.write(orjson.dumps(owner))
        return True

    def _break_if_stale(self) -> None:
        try:
            held = self.path.read_bytes()
            age = self._now() - self.path.stat().st_mtime
        except FileNotFoundError:
            return
        owner = read_owner(held)
        if owner.get("host") == socket.gethostname():
            alive = process_start(owner["pid"]) == owner["started"]
        else:
            alive = age < LEASE_SECONDS
        if alive:
            raise LockedError(
                f"{self.path.parent} is in use by {named(owner)} (heartbeat {age:.0f} s ago)"
            )
        aside = self.path.with_name(f"lock.stale-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(aside)
            if aside.read_bytes() != held:  # a faster successor's: give it back
                with contextlib.suppress(FileExistsError):
                    os.link(aside, self.path)
            aside.unlink()

    def _now(self) -> float:
        """The file system's own time, so that two hosts' clocks need not agree."""
        probe = self.path.with_name(f"clock-{os.getpid()}")
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()

    def _heartbeat(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self.path)


def owner_of(folder: Path) -> str:
    """Who owns a run folder, for display; empty where nobody does."""
    try:
        owner = read_owner((folder / "lock").read_bytes())
    except FileNotFoundError:
        return ""
    if owner.get("host") == socket.gethostname() and not process_start(owner["pid"]):
        return ""
    return named(owner)


def read_owner(held: bytes) -> dict[str, Any]:
    """What a lock file says; nothing where its writer was cut off."""
    try:
        owner = orjson.loads(held)
    except orjson.JSONDecodeError:
        return {}
    return owner if isinstance(owner, dict) else {}


def named(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
