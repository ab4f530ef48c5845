"""Ranks on this machine: the same command again, in further processes.

One process cannot use two cores: the interpreter runs one thread at a time.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from msgspec import Struct

from mirage.scale.ranks import LAUNCH, PARENT
from mirage.work.rank import Rank

PATIENCE_SECONDS = 10.0
DEAF = ("/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh")
"""Ctrl-C in a terminal reaches all: who does not listen for it yet has nothing to finish, and ends
when the first one has.
"""


class Team(Struct):
    """The ranks of one launch: this process is the first, `others` are its children, and `command`
    is what these run.
    """

    rank: Rank
    command: Sequence[str]
    others: list[subprocess.Popen[bytes]] = []

    def start(self, number: int, count: int) -> None:
        """Start rank `number` of so many."""
        said = {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(count)}
        env = os.environ | said | {LAUNCH: self.rank.launch, PARENT: str(os.getpid())}
        command = [*DEAF, *self.command]
        self.others.append(subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL))

    def gone(self) -> list[int]:
        """The numbers of those that have ended."""
        return [number for number, each in enumerate(self.others, 1) if each.poll() is not None]

    def finish(self, patience: float | None) -> None:
        """Wait until all have ended by themselves, or for that many seconds."""
        deadline = None if patience is None else time.monotonic() + patience
        for process in self.others:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(left)

    def end(self) -> None:
        """Have those end that are still there: politely, and then not."""
        for process in self.others:
            process.terminate()
        self.finish(PATIENCE_SECONDS)
        for process in self.others:
            process.kill()
            process.wait()

    def losses(self) -> list[str]:
        """Those that have ended before their time, for people. Their blocks are done by others."""
        ended = [(number, each.poll()) for number, each in enumerate(self.others, 1)]
        return [
            f"rank {number} was killed by signal {-code}; the others have done its work"
            if code < 0
            else f"rank {number} ended with exit code {code}; the others have done its work"
            for number, code in ended
            if code
        ]


@contextlib.contextmanager
def team(count: int, arguments: Sequence[str], *, recruits: bool = False) -> Iterator[Team]:
    """Start `mirage` with the same arguments as ranks 1 to `count` - 1.

    They end by themselves when this one does: at the latest when they see that it is gone. Those
    that are still there when the context ends are made to. With `recruits` others may follow.
    """
    rank = Rank(0, count, secrets.token_hex(8), recruits=recruits)
    team = Team(rank, [sys.executable, "-m", "mirage", *arguments])
    try:
        for number in range(1, count):
            team.start(number, count)
        yield team
    finally:
        team.end()
