"""One process owns a run folder at a time: a lock file made with O_EXCL, kept alive by a heartbeat.

A lock is stale when its process is gone (on this host) or its heartbeat has stopped (on another).
Whoever removes a stale lock first claims the right to, with a file made likewise, so that nobody
removes the lock of a faster successor.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from mirage.errors import LockedError

HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 60.0
CLAIM_SECONDS = 0.01
SIGNED_AFTER_SECONDS = 1.0
DEAD = ("Z", "X", "x")


def process_start(pid: int) -> int:
    """When a process of this host started, in clock ticks since boot; 0 where it is not running.

    Field 22 of /proc/PID/stat (proc(5)), unless field 3 says that it is dead and only waits for
    its parent; without /proc, 1 for any living process.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return 0 if fields[0] in DEAD else int(fields[19])
    except (FileNotFoundError, ProcessLookupError):
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
        self._held = b""
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
        with contextlib.suppress(OSError):
            if self.path.read_bytes() == self._held:  # not a successor's, who found us asleep
                self.path.unlink()

    def _acquire(self) -> bool:
        pid = os.getpid()
        owner = {"host": socket.gethostname(), "pid": pid, "started": process_start(pid)}
        self._held = orjson.dumps(owner)
        try:
            file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        try:
            with os.fdopen(file, "wb") as out:
                out.write(self._held)
        except OSError:
            self.path.unlink()
            raise
        return True

    def _break_if_stale(self) -> None:
        try:
            held = self.path.read_bytes()
            age = self._now() - self.path.stat().st_mtime
        except FileNotFoundError:
            return
        owner = read_owner(held)
        if not owner and age < SIGNED_AFTER_SECONDS:  # who it is will be said in a moment
            time.sleep(CLAIM_SECONDS)
            return
        if owner.get("host", socket.gethostname()) == socket.gethostname():
            alive = process_start(owner.get("pid", 0)) == owner.get("started")
        else:
            alive = age < LEASE_SECONDS
        if alive:
            raise LockedError(
                f"{self.path.parent} is in use by {named(owner)} (heartbeat {age:.0f} s ago)"
            )
        self._remove(held)

    def _remove(self, held: bytes) -> None:
        """Remove the lock if it still says `held`; nothing happens while another is about to."""
        claim = self.path.with_name("lock.stale")
        try:
            os.close(os.open(claim, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            time.sleep(CLAIM_SECONDS)
            with contextlib.suppress(FileNotFoundError):
                if self._now() - claim.stat().st_mtime > SIGNED_AFTER_SECONDS:  # it died over it
                    claim.unlink()
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                if self.path.read_bytes() == held:
                    self.path.unlink()
        finally:
            claim.unlink(missing_ok=True)

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
