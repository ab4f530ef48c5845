"""Whether a mixture can be trained on: every example of every training set, without an image read.

What each dataset says of itself, its format tells; here stand the rules between files: ids that
lead nowhere, ids that two of them have, and as many images as there are tags.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from msgspec import Struct, field

from mirage.dataset.conversion import Progress
from mirage.dataset.verification import STEP, Report, Violation
from mirage.formats.shape import Reading
from mirage.mixture.dataset import LOCATE, Dataset
from mirage.mixture.entries import Entries
from mirage.mixture.mixture import Mixture
from mirage.mixture.rendering import checked, shown


class Check(Struct):
    """How often each rule was broken, and how many images an epoch shows of each dataset."""

    broken: Counter[str] = field(default_factory=Counter)
    images: list[int] = []


def check(mixture: Mixture, report: Report, progress: Progress = lambda examples: None) -> Check:
    """Report every rule that is broken, with file and id; `progress` is told now and then how many
    examples were looked at.
    """
    found = Check()
    looked = 0
    for at, dataset in enumerate(mixture.datasets):
        times = mixture.times(at)
        found.images.append(0)
        for number in range(len(dataset)):
            looked += 1
            if not looked % STEP:
                progress(looked)
            reading = Reading(LOCATE)
            example = dataset.example(number, reading)
            found.images[-1] += times[number] * len(shown(example))
            if not reading.broken:
                checked(example, reading)
            for fault in reading.broken:
                tell(Violation(dataset.place(number), fault.rule, fault.message), found, report)
        for violation in whole(dataset):
            tell(violation, found, report)
    for violation in repeated(mixture.datasets):
        tell(violation, found, report)
    return found


def tell(violation: Violation, found: Check, report: Report) -> None:
    found.broken[violation.rule] += 1
    report(violation)


def whole(dataset: Dataset) -> Iterator[Violation]:
    """What is wrong with the files of a dataset as such."""
    if not len(dataset):
        yield Violation(str(dataset.trained.path), "empty", "the training set is empty")
    for place, message in dataset.torn():
        yield Violation(place, "torn", message)


def repeated(datasets: list[Dataset]) -> Iterator[Violation]:
    """Ids that stand in several files of instructions, or twice in one. Two datasets may well
    train on different parts of one file.
    """
    files = {each.instructions.path.resolve(): each.instructions for each in datasets}
    merged = heapq.merge(*(entries.hashes for entries in files.values()))
    for hash, equal in groupby(merged):
        if sum(1 for _ in equal) > 1:
            yield from standing(hash, list(files.values()))


def standing(hash: int, files: list[Entries]) -> Iterator[Violation]:
    """The ids with this hash that stand in more than one place."""
    first: dict[str, Entries] = {}
    for entries in files:
        for id in map(entries.key, entries.hashed(hash)):
            if id in first:
                where = "twice here" if first[id] is entries else f"in {first[id].path} as well"
                yield Violation(f"{entries.path}: {id}", "duplicate-id", f"the id stands {where}")
            first.setdefault(id, entries)
