"""Which of several processes that share a run this one is.

They share it block by block. Rank 0 owns the run: it finds the blocks, waits until all are
finished, whoever finishes them, and publishes the dataset. The others follow it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rank:
    """The process `number` of `count`, counted from 0, all of the same `launch`.

    `parent` is the process id of rank 0, where that has started this one.
    """

    number: int = 0
    count: int = 1
    launch: str = ""
    parent: int = 0

    @property
    def owns(self) -> bool:
        return self.number == 0

    def share(self, whole: int) -> int:
        """This rank's part of something that all of them have together; at least 1."""
        return max(whole // self.count + (self.number < whole % self.count), 1)


ALONE = Rank()
