"""One command, and what it cost: wall time, CPU time, the most memory that it held."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """`wall` and `cpu` in seconds, from the start of the process to its end: imports and teardown
    count. `peak_mb` is the largest resident set, in 10^6 bytes.
    """

    exit_code: int
    wall: float
    cpu: float
    peak_mb: float


def measure(command: Sequence[str | Path], log: Path, timeout: float) -> Cost:
    """Run a command, its output into `log`; it is killed after `timeout` seconds.

    The peak is the kernel's own (ru_maxrss), hence exact, but never below this process's: it is
    carried over from before exec. So this process must stay small, and loads no tables.
    """
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        alarm = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
        alarm.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            alarm.cancel()
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(
        exit_code=process.returncode,
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss * 1024 / 1e6,
    )
