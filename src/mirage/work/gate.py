"""`open`: which launch's other ranks may work in a run's folder, and how its owner has ended.

It names the lock of the owner who opened it. Launchers give every launch the same name, so what an
earlier one has left must not let a rank in, nor send it away.
"""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path

import orjson
from msgspec import Struct
from msgspec.json import encode

from mirage import __version__
from mirage.atomic import write_bytes
from mirage.work.lock import Lock, is_owned, now, process_start

OPEN = "open"


class Sign(Struct, frozen=True):
    """What the gate says: `state` is "open", or how the owner has ended; `makes` names its source,
    plan and sink, and is empty where it never came to that; `lock` is what its lock file says, and
    `version` that of its package. What another version does not say is empty.
    """

    launch: str = ""
    state: str = ""
    makes: str = ""
    lock: str = ""
    version: str = ""


class Gate(Struct, frozen=True):
    """The gate of the run in `folder`. Only who holds the lock of the run writes it."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "open"

    def write(self, lock: Lock, state: str, makes: str) -> None:
        """Raises LockedError where another has the run by now: its gate stays as it is."""
        lock.check()
        sign = Sign(lock.launch, state, makes, lock.text, __version__)
        write_bytes(self.path, encode(sign))

    def read(self) -> Sign | None:
        try:
            said = dict(orjson.loads(self.path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return Sign(**{name: str(said.get(name, "")) for name in Sign.__struct_fields__})

    def entry(self, launch: str) -> Sign | None:
        """The sign of a launch whose owner is there, or was since this process started."""
        sign = self.read()
        if sign is None or sign.launch != launch:
            return None
        return sign if self._stands(sign) or self._written_since(process_age()) else None

    def admits(self, entered: Sign) -> bool:
        """Whether a rank that has entered may go on."""
        return self.read() == entered and entered.state == OPEN and self._stands(entered)

    def follows(self, entered: Sign) -> bool:
        """Whether the gate is still that of the owner who let a rank in, open or not."""
        sign = self.read()
        return sign is not None and sign.lock == entered.lock

    def opened(self) -> int:
        """When it was opened, as the file system tells the time, in ns."""
        return self.path.stat().st_mtime_ns

    def _lock(self) -> str:
        try:
            return (self.folder / "lock").read_text()
        except FileNotFoundError:
            return ""

    def _stands(self, sign: Sign) -> bool:
        return sign.lock == self._lock() and is_owned(self.folder)

    def _written_since(self, seconds: float) -> bool:
        try:
            return now(self.folder) - self.path.stat().st_mtime <= seconds
        except FileNotFoundError:
            return False


def process_age() -> float:
    """For how many seconds this process has run; without end where that cannot be told."""
    if sys.platform != "linux":
        return math.inf
    ticks = process_start(os.getpid()) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks
