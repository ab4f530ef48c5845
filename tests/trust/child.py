"""Runs that die at a given moment, each in a process of its own.

    python child.py CONFIG

For every number that it reads, it forks, and the child runs the configuration until it is about to
make so many changes to the file system (a file or a database opened for writing, a file renamed or
removed, a folder made): right before the last of them it kills itself. What became of it is
printed: its exit code, or the signal as a negative number.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from mirage import run, session  # noqa: F401 - so that no child has to load it

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def die_before(change: int) -> None:
    changes = count(1)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect":
            counts = "mode=ro" not in str(arguments[0])
        else:
            counts = event in CHANGES or (event == "open" and arguments[2] & WRITING)
        if counts and next(changes) == change:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def main() -> None:
    config = orjson.loads(Path(sys.argv[1]).read_bytes())
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            die_before(int(line))
            os._exit(run(config).exit_code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
