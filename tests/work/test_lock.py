"""One owner of a run folder at a time, and heirs for those who died."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from mirage.errors import LockedError
from mirage.work import lock
from mirage.work.lock import Lock, is_owned, owner_of, process_start

HOLD = """
import sys, time
from pathlib import Path
from mirage.work.lock import Lock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def forge(folder: Path, age: float = 0.0, **owner: object) -> None:
    """A lock that somebody else left."""
    (folder / "lock").write_bytes(orjson.dumps(owner) if owner else b"")
    then = time.time() - age
    os.utime(folder / "lock", (then, then))


def test_the_second_process_is_refused(tmp_path: Path) -> None:
    """While one process owns the folder, another is told who does, and leaves it alone."""
    process = holder(tmp_path)
    try:
        with pytest.raises(LockedError, match=f"process {process.pid} on {socket.gethostname()}"):
            Lock(tmp_path).__enter__()
        assert str(process.pid) in owner_of(tmp_path)
    finally:
        process.kill()
        process.wait()
    assert owner_of(tmp_path) == ""


@pytest.mark.parametrize("reaped", [True, False])
def test_a_dead_owner_is_inherited_from(tmp_path: Path, reaped: bool) -> None:
    """The lock of a killed process is taken over at once, even where nobody has buried it yet."""
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    if reaped:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with Lock(tmp_path):
        assert str(os.getpid()) in owner_of(tmp_path)
    process.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_pid_that_is_used_again(tmp_path: Path) -> None:
    """A living process with the dead owner's number is not taken for the owner."""
    started = process_start(os.getpid())
    forge(tmp_path, host=socket.gethostname(), pid=os.getpid(), started=started - 1)
    with Lock(tmp_path):
        pass
    forge(tmp_path, host=socket.gethostname(), pid=os.getpid(), started=started)
    with pytest.raises(LockedError):
        Lock(tmp_path).__enter__()


def test_an_owner_on_another_host(tmp_path: Path) -> None:
    """Elsewhere the heartbeat counts: a fresh one is respected, a stopped one is not."""
    forge(tmp_path, age=lock.LEASE_SECONDS - 20, host="elsewhere", pid=1, started=1)
    with pytest.raises(LockedError, match="elsewhere"):
        Lock(tmp_path).__enter__()
    forge(tmp_path, age=lock.LEASE_SECONDS + 20, host="elsewhere", pid=1, started=1)
    with Lock(tmp_path):
        pass


def test_an_owner_in_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may only look on sees as well whether he is there."""
    monkeypatch.setattr(os, "open", refuse)
    for age, owned in ((0, True), (lock.LEASE_SECONDS + 20, False)):
        forge(tmp_path, age=age, host="elsewhere", pid=1, started=1)
        assert is_owned(tmp_path) is owned


def refuse(*arguments: object) -> int:
    raise PermissionError(errno.EACCES, "not here")


@pytest.mark.parametrize("held", [b"", b"{", b"[]", b'{"host": "'])
def test_an_owner_who_died_before_he_signed(tmp_path: Path, held: bytes) -> None:
    """A lock that says nothing is waited for, and not for ever."""
    (tmp_path / "lock").write_bytes(held)
    began = time.monotonic()
    with Lock(tmp_path):
        assert 0.5 < time.monotonic() - began < 5


def test_an_owner_who_is_about_to_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that says nothing yet, and then does, is respected."""
    monkeypatch.setattr(lock, "SIGNED_AFTER_SECONDS", 30)
    (tmp_path / "lock").touch()
    signing = threading.Timer(0.2, forge, [tmp_path], {"host": "elsewhere", "pid": 1, "started": 1})
    signing.start()
    with pytest.raises(LockedError, match="elsewhere"):
        Lock(tmp_path).__enter__()
    signing.join()


def test_a_lock_that_lacks_something(tmp_path: Path) -> None:
    """A lock of this host without a process is stale."""
    forge(tmp_path, host=socket.gethostname())
    with Lock(tmp_path):
        pass


def test_the_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a folder is owned, its lock stays young."""
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.05)
    with Lock(tmp_path):
        os.utime(tmp_path / "lock", (0, 0))
        deadline = time.monotonic() + 5
        while (tmp_path / "lock").stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - (tmp_path / "lock").stat().st_mtime < 5


def test_an_owner_who_slept_leaves_his_successor_alone(tmp_path: Path) -> None:
    """Who lost the lock while asleep does not take it from the one who found it stale."""
    with Lock(tmp_path):
        forge(tmp_path, host="elsewhere", pid=1, started=1)
    assert owner_of(tmp_path) == "process 1 on elsewhere"


def test_one_heir_of_many(tmp_path: Path) -> None:
    """Of twelve threads that find a stale lock at once, one has it."""
    forge(tmp_path, host=socket.gethostname(), pid=0, started=1)
    start, over = threading.Barrier(12), threading.Barrier(12)

    def heir(_: int) -> bool:
        start.wait()
        try:
            with Lock(tmp_path):
                over.wait(30)
                return True
        except LockedError:
            over.wait(30)
            return False

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(heir, range(12))) == 1


def test_an_heir_who_died_over_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim to remove a stale lock is void when its maker is gone."""
    monkeypatch.setattr(lock, "SIGNED_AFTER_SECONDS", 0.05)
    forge(tmp_path, host=socket.gethostname(), pid=0, started=1)
    (tmp_path / "lock.stale").touch()
    with Lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_heart_beats(tmp_path: Path) -> None:
    """However often a process takes and lets go of what it holds."""
    heart, path = lock.Heart(), tmp_path / "lock"
    path.touch()
    before = threading.active_count()
    for _ in range(200):
        heart.add(path)
        heart.remove(path)
    heart.add(path)
    assert threading.active_count() - before <= 1
    heart.remove(path)
