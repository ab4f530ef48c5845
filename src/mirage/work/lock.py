"""One process owns a folder at a time: a lock file made with O_EXCL, kept alive by a heartbeat.

A lock is stale when its process is gone (where this one can see it) or its heartbeat has stopped
(on another host, in another container). Who was asleep for so long may wake up: it finds that the
lock is not `held` any more, and its heart beats for no other's.
Whoever removes a stale lock first claims the right to, with a file made likewise, so that nobody
removes the lock of a faster successor.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
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


class Heart:
    """The thread that keeps a process's locks alive, for as long as it holds any."""

    def __init__(self) -> None:
        self._files: dict[Path, int] = {}
        self._beats = False
        self._changed = threading.Condition()

    def add(self, path: Path) -> None:
        """The file that is there now, not the one that another may put in its place."""
        file = os.open(path, os.O_WRONLY)
        with self._changed:
            if not self._beats:
                self._beats = True
                threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
            self._files[path] = file

    def remove(self, path: Path) -> None:
        with self._changed:
            file = self._files.pop(path, None)
            if file is not None:
                os.close(file)
            if not self._files:
                self._changed.notify_all()

    def _beat(self) -> None:
        with self._changed:
            while self._files:
                self._changed.wait(HEARTBEAT_SECONDS)
                for file in self._files.values():
                    with contextlib.suppress(OSError):
                        os.utime(file)
            self._beats = False


HEART = Heart()


class Lock:
    """Ownership of `folder`, from `with` to its end. Raises LockedError where another has it.

    `launch` names those whom its owner shares the folder with; nobody where it is empty.
    """

    def __init__(self, folder: Path, launch: str = "") -> None:
        self.path = folder / "lock"
        self.launch = launch
        self._held = b""

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while not self._acquire():
            self._break_if_stale()
        with contextlib.suppress(FileNotFoundError):  # asleep for so long that it is lost again
            HEART.add(self.path)

    def release(self) -> None:
        HEART.remove(self.path)
        with contextlib.suppress(OSError):
            if self.held:
                self.path.unlink()
        self._held = b""

    @property
    def held(self) -> bool:
        """Whether it is still ours: no successor has found us asleep."""
        try:
            return bool(self._held) and self.path.read_bytes() == self._held
        except FileNotFoundError:
            return False

    def check(self) -> None:
        """Raise LockedError where it is not held any more."""
        if not self.held:
            raise LockedError(f"{self.path.parent} has been taken over by another process")

    @property
    def text(self) -> str:
        """What the lock file says of this ownership, and of no other."""
        return self._held.decode()

    def _acquire(self) -> bool:
        signed = {**owner(), "launch": self.launch, "token": secrets.token_hex(4)}
        self._held = orjson.dumps(signed)
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
            age = now(self.path.parent) - self.path.stat().st_mtime
        except FileNotFoundError:
            return
        owner = read_owner(held)
        if not owner and age < SIGNED_AFTER_SECONDS:  # who it is will be said in a moment
            time.sleep(CLAIM_SECONDS)
            return
        if lives(owner, age):
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
                age = now(self.path.parent) - claim.stat().st_mtime
                if age > SIGNED_AFTER_SECONDS:  # its maker died over it
                    claim.unlink()
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                if self.path.read_bytes() == held:
                    self.path.unlink()
        finally:
            claim.unlink(missing_ok=True)


def now(folder: Path) -> float:
    """The file system's own time, so that two hosts' clocks need not agree; who may only look on
    has to do with this host's.
    """
    probe = folder / f"clock-{secrets.token_hex(8)}"
    try:
        file = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except OSError as exc:
        if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return time.time()
        raise
    try:
        return os.fstat(file).st_mtime  # even where a new owner has swept it away
    finally:
        os.close(file)
        probe.unlink(missing_ok=True)


def lives(owner: dict[str, Any], age: float) -> bool:
    """Whether the owner that a lock names is alive; `age` is that of its heartbeat, in seconds."""
    if is_here(owner):
        return process_start(owner.get("pid", 0)) == owner.get("started")
    return age < LEASE_SECONDS


def is_owned(folder: Path) -> bool:
    """Whether a living process owns a folder."""
    path = folder / "lock"
    try:
        owner = read_owner(path.read_bytes())
        age = 0.0 if is_here(owner) else now(folder) - path.stat().st_mtime
        return lives(owner, age)
    except FileNotFoundError:
        return False


def is_here(owner: dict[str, Any]) -> bool:
    """Whether an owner's process, if it lives, is one that this process can see."""
    known = {"host": socket.gethostname(), "space": space()}
    return all(owner.get(key, value) == value for key, value in known.items())


def space() -> str:
    """Among whose processes this one's number means something: those of a container count anew,
    and may have their host's name.
    """
    try:
        booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{booted} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def launch_of(folder: Path) -> str | None:
    """With whom the owner of a folder shares it; None where nobody owns it."""
    try:
        return str(read_owner((folder / "lock").read_bytes()).get("launch", ""))
    except FileNotFoundError:
        return None


def owner_of(folder: Path) -> str:
    """Who owns a run folder, for display; empty where nobody does."""
    try:
        owner = read_owner((folder / "lock").read_bytes())
    except FileNotFoundError:
        return ""
    if is_here(owner) and not process_start(owner.get("pid", 0)):
        return ""
    return named(owner)


def read_owner(held: bytes) -> dict[str, Any]:
    """What a lock file says; nothing where its writer was cut off."""
    try:
        owner = orjson.loads(held)
    except orjson.JSONDecodeError:
        return {}
    return owner if isinstance(owner, dict) else {}


def owner() -> dict[str, Any]:
    """This process, as a lock names its owner."""
    pid = os.getpid()
    started = process_start(pid)
    return {"host": socket.gethostname(), "space": space(), "pid": pid, "started": started}


def named(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
