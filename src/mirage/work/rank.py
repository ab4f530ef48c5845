"""Which of several processes that share a run this one is.

They share it block by block. Rank 0 owns the run: it finds the blocks, waits until all are
finished, whoever finishes them, and publishes the dataset. The others follow it. Ranks of a
launcher have their numbers from it; of processes that join by themselves, whoever finds the run
without an owner becomes rank 0, and another one when it ends before its time.
"""

from __future__ import annotations

from msgspec import Struct

LOOKS_PER_SECOND = 64
"""Of all ranks together."""


class Rank(Struct, frozen=True):
    """The process `number` of `count`, counted from 0, all of the same `launch`.

    `parent` is the process id of rank 0, where that has started this one. Where they are `elected`
    the count is about how many there are, and the numbers of all but rank 0 are arbitrary. One that
    does not work claims no block; one that recruits is alone until it starts another.
    """

    number: int = 0
    count: int = 1
    launch: str = ""
    parent: int = 0
    elected: bool = False
    works: bool = True
    recruits: bool = False

    @property
    def owns(self) -> bool:
        return self.number == 0

    @property
    def shares(self) -> bool:
        """Whether there may be other ranks."""
        return self.count > 1 or self.elected or self.recruits

    def begins_with(self, number: int) -> bool:
        """Whether a block is one of those that this rank looks at first: where each begins with its
        own share, they meet only at the end.
        """
        return not self.works or number % self.count == self.number % self.count

    @property
    def pace(self) -> float:
        """How many times as long as alone a rank waits before it looks at the run's folder again:
        many together must not ask its file system more than a few could.
        """
        return max(self.count / LOOKS_PER_SECOND, 1)

    def before(self, number: int) -> tuple[int, int]:
        """The order in which this rank looks at blocks: its own share, then the next rank's."""
        return (number - self.number) % self.count, number

    def share(self, whole: int) -> int:
        """This rank's part of something that all of them have together; at least 1."""
        return max(whole // self.count + (self.number < whole % self.count), 1)


ALONE = Rank()
