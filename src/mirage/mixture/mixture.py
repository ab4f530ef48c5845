"""A mixture: several datasets, how much is drawn of each, and every example by its number.

Examples are numbered group by group, dataset by dataset, so that a batch of one group is a batch of
numbers. Nothing is held but arrays of numbers; which is which follows from the seed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from msgspec import Struct

from mirage.formats.shape import Reading
from mirage.mixture import sampling
from mirage.mixture.dataset import LOCATE, Dataset, Example, Stores, broken
from mirage.mixture.declaration import GROUPS, Declaration


class Share(Struct, frozen=True):
    """What an epoch holds of one dataset: `drawn` examples of `trained`, `ratio` of its group."""

    group: str
    dataset: str
    trained: int
    drawn: int
    ratio: float


class Mixture:
    """The datasets of a declaration, opened; `seed` decides what is drawn and in which order."""

    def __init__(self, declaration: Declaration, seed: int = 0) -> None:
        self.declaration = declaration
        self.seed = seed
        found = sorted(declaration.datasets, key=lambda each: GROUPS.index(each.group))
        stores = Stores()
        self.datasets = [Dataset(each, stores) for each in found]
        self._drawn = [
            sampling.draw(len(each), count, f"{seed}/{each.declared.group}/{each.name}")
            for each, count in zip(self.datasets, self._counts(), strict=True)
        ]
        self._ends = [*accumulate(map(len, self._drawn))]

    def _counts(self) -> Sequence[int | None]:
        if self.declaration.ratio != "sqrt":
            return [each.declared.samples for each in self.datasets]
        counts = (each.declared.samples for each in self.datasets)
        whole = [
            (len(each) if count is None else count) if len(each) else 0
            for each, count in zip(self.datasets, counts, strict=True)
        ]
        return sampling.square_roots(whole)

    def __len__(self) -> int:
        return self._ends[-1]

    def groups(self) -> dict[str, range]:
        """The numbers of the examples of each group."""
        found: dict[str, range] = {}
        start = 0
        for each, end in zip(self.datasets, self._ends, strict=True):
            group = each.declared.group
            found[group] = range(found[group].start if group in found else start, end)
            start = end
        return found

    def shares(self) -> list[Share]:
        totals = {name: len(numbers) for name, numbers in self.groups().items()}
        return [
            Share(
                each.declared.group,
                each.name,
                len(each),
                len(drawn),
                len(drawn) / (totals[each.declared.group] or 1),
            )
            for each, drawn in zip(self.datasets, self._drawn, strict=True)
        ]

    def batches(
        self, size: int = 1, epoch: int = 0, *, whole: bool = False
    ) -> Iterator[sampling.Numbers]:
        """The numbers of an epoch in their order, in batches of one group each."""
        return sampling.batches(self.groups(), size, f"{self.seed}/{epoch}", whole=whole)

    def times(self, at: int) -> sampling.Numbers:
        """How often each example of a dataset's training set is in an epoch."""
        found = array("Q", bytes(8 * len(self.datasets[at])))
        for number in self._drawn[at]:
            found[number] += 1
        return found

    def find(self, number: int) -> tuple[Dataset, int]:
        """The dataset of an example, and its number in the training set of that."""
        at = bisect_right(self._ends, number)
        start = self._ends[at - 1] if at else 0
        return self.datasets[at], self._drawn[at][number - start]

    def read(self, number: int, reading: Reading) -> Example:
        """An example; what is wrong with it is told to `reading`."""
        dataset, within = self.find(number)
        return dataset.example(within, reading, str(self.seed))

    def example(self, number: int) -> Example:
        """An example. Raises SourceError where it breaks a rule."""
        reading = Reading(LOCATE)
        example = self.read(number, reading)
        if reading.broken:
            raise broken(reading)
        return example

    def close(self) -> None:
        for each in self.datasets:
            each.close()
