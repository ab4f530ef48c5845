"""Proof that processes on several machines see one run's folder.

Who starts the others leaves a token there, and they look for it before they do anything: where a
path means another disk, each would make the whole dataset by itself.
"""

from __future__ import annotations

import secrets
import socket
import time
from pathlib import Path

from mirage.errors import RunError

TOKEN = "MIRAGE_TOKEN"
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.2


def leave(folder: Path) -> str:
    """Put a token into a run's folder. It stays: an array may wait for days."""
    token = secrets.token_hex(8)
    place(folder, token).parent.mkdir(parents=True, exist_ok=True)
    place(folder, token).touch()
    return token


def find(folder: Path, token: str) -> None:
    """Raise RunError where a token is not there, nor comes: a file system may be late."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while token and not place(folder, token).exists():
        if time.monotonic() > deadline:
            raise RunError(
                f"{folder} on {socket.gethostname()} is not the folder that this run was started "
                "from: give `run.dir` a path that means the same disk everywhere"
            )
        time.sleep(LOOK_SECONDS)


def place(folder: Path, token: str) -> Path:
    return folder / "tokens" / token
