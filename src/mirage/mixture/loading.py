"""A mixture for a training loop: examples by number, in batches, or as a stream. Torch-free.

    examples = mirage.load_mixture("data.yaml")
    DataLoader(examples, batch_sampler=examples.batches(8), collate_fn=...)
    DataLoader(examples.stream(), batch_size=None, num_workers=4)

Each process opens files for itself, so that an object here may be copied to workers. Images are
read one example at a time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from mirage.mixture.dataset import Example, bytes_of
from mirage.mixture.mixture import Mixture
from mirage.mixture.writing import Render

Transform = Callable[[Any], Any]


class Examples:
    """The examples of an epoch by their numbers, for a loader that draws numbers itself.

    An item is a mapping of `id`, `group`, `dataset`, `text` and `images`, the bytes of each; or
    what `transform` makes of it. An example that breaks a rule raises SourceError when it is asked
    for; `mirage mix` finds all of them beforehand.
    """

    def __init__(self, mixture: Mixture, render: Render, transform: Transform | None) -> None:
        self.mixture = mixture
        self.render = render
        self.transform = transform

    def __len__(self) -> int:
        return len(self.mixture)

    def __getitem__(self, number: int) -> Any:
        if not -len(self) <= number < len(self):
            raise IndexError(f"there are {len(self):,} examples: {number} is none of them")
        item = self.item(self.mixture.example(number % len(self)))
        return item if self.transform is None else self.transform(item)

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))

    def item(self, example: Example) -> dict[str, Any]:
        text = self.render(example)
        return {
            "id": example.id,
            "group": example.group,
            "dataset": example.dataset,
            "text": text.text,
            "images": [bytes_of(image) for _, image in text.images],
        }

    def batches(self, size: int, *, drop_last: bool = False) -> Batches:
        return Batches(self.mixture, size, drop_last=drop_last)

    def stream(self, *, shuffle: bool = True, rank: int = 0, ranks: int = 1) -> Stream:
        return Stream(self, shuffle=shuffle, rank=rank, ranks=ranks)


class Batches:
    """Lists of numbers, each of one group: what a loader takes as its `batch_sampler`.

    `set_epoch` gives another order; the same epoch always gives the same one.
    """

    def __init__(self, mixture: Mixture, size: int, *, drop_last: bool) -> None:
        if size < 1:
            raise ValueError(f"a batch has at least one example, not {size}")
        self.mixture = mixture
        self.size = size
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        lengths = map(len, self.mixture.groups().values())
        if self.drop_last:
            return sum(length // self.size for length in lengths)
        return sum(-(-length // self.size) for length in lengths)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.mixture.batches(self.size, self.epoch, whole=self.drop_last):
            yield batch.tolist()


class Stream:
    """Every example of an epoch once, over all ranks and all workers of a loader.

    A loader takes it for an iterable dataset where torch is loaded when the stream is made.
    """

    def __init__(self, examples: Examples, *, shuffle: bool, rank: int, ranks: int) -> None:
        if not 0 <= rank < ranks:
            raise ValueError(f"rank {rank} is none of {ranks}")
        self.examples = examples
        self.shuffle = shuffle
        self.rank = rank
        self.ranks = ranks
        self.epoch = 0
        torch_data = sys.modules.get("torch.utils.data")
        if torch_data is not None:
            torch_data.IterableDataset.register(Stream)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        """How many examples this rank has, over all its workers."""
        return len(range(self.rank, len(self.examples), self.ranks))

    def __iter__(self) -> Iterator[Any]:
        worker, workers = worker_of()
        every, mine = self.ranks * workers, self.rank + self.ranks * worker
        for at, number in enumerate(self.numbers()):
            if at % every == mine:
                yield self.examples[number]

    def numbers(self) -> Iterator[int]:
        if not self.shuffle:
            yield from range(len(self.examples))
            return
        for batch in self.examples.mixture.batches(1, self.epoch):
            yield from batch


def worker_of() -> tuple[int, int]:
    """Which worker of a loader this process is, and of how many: the only one, where torch is not
    even loaded.
    """
    torch_data = sys.modules.get("torch.utils.data")
    found = None if torch_data is None else torch_data.get_worker_info()
    return (0, 1) if found is None else (found.id, found.num_workers)
