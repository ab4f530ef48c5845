"""Stands between MIRAGE and a server that it has launched: when MIRAGE is gone, so is the server.

    python supervisor.py PARENT GRACE COMMAND...

It leads a session of its own. The server ends, with all that it has started, when standard input is
closed or PARENT is no longer the parent, as after `kill -9`: first SIGTERM, and after GRACE seconds
SIGKILL. What the server leaves behind when it ends by itself is ended in the same way. Nothing but
the standard library is loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

LOOK_SECONDS = 0.5
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
ROUNDS = 100


def prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def die_with_parent() -> None:
    """Should this very process be killed, the server's first process does not outlive it."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants() -> list[int]:
    """All processes below this one; those whose parent has died are its children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = entry.read_text("utf-8", "replace").rpartition(")")[2].split()
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, unseen = list[int](), [os.getpid()]
    while unseen:
        below = children.get(unseen.pop(), [])
        found += below
        unseen += below
    return found


def reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end_all(grace: float) -> None:
    """SIGTERM to the whole group, which this process does not heed; then SIGKILL to who is left."""
    if not descendants():
        return
    os.killpg(0, signal.SIGTERM)
    until = time.monotonic() + grace
    while time.monotonic() < until and descendants():
        reap()
        time.sleep(0.05)
    for _ in range(ROUNDS):
        if not (left := descendants()):
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        reap()
        time.sleep(0.05)


def watch(child: subprocess.Popen[bytes], parent: int) -> int | None:
    """The server's exit code; None where MIRAGE is gone, or lets go, before."""
    while (code := child.poll()) is None:
        ready, _, _ = select.select([0], [], [], LOOK_SECONDS)
        if (ready and not os.read(0, 1)) or os.getppid() != parent:
            return None
    return code


def main() -> int:
    parent, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # unlike SIG_IGN, not inherited by the server
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
    except OSError as exc:
        print(f"cannot be started: {exc}", file=sys.stderr, flush=True)
        return 127
    code = watch(child, parent)
    end_all(grace)
    return 0 if code is None else code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
