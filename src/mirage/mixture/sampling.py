"""How much of each dataset an epoch has, in which order, and which frames of a film: by seed."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import TypeAlias

Numbers: TypeAlias = "array[int]"


def draw(length: int, count: int | None, seed: str) -> Numbers:
    """Numbers below `length`: all (None), or `count` of them. Fewer than there are: drawn without
    replacement; more: all of them as often as they fit, and the rest drawn.
    """
    whole, rest = divmod(length if count is None else count, length) if length else (0, 0)
    drawn = array("Q", range(length)) * whole
    drawn.extend(Random(seed).sample(range(length), rest))
    return drawn


def square_roots(counts: Sequence[int]) -> list[int]:
    """The same total, shared in proportion to the square roots of the counts."""
    roots = [math.sqrt(count) for count in counts]
    total, whole = sum(counts), sum(roots)
    shares = [total * root / whole if whole else 0.0 for root in roots]
    made = [int(share) for share in shares]
    nearest = sorted(range(len(made)), key=lambda at: made[at] - shares[at])
    for at in nearest[: total - sum(made)]:
        made[at] += 1
    return made


def batches(
    groups: Mapping[str, range], size: int, seed: str, *, whole: bool = False
) -> Iterator[Numbers]:
    """Every number of every group once, shuffled, in batches of one group each.

    The next batch is of a group with a chance in proportion to what that group has left, so that
    it was, over the epoch, in proportion to the group's length. With `whole`, batches that are not
    full are left out.
    """
    orders = {name: shuffled(numbers, f"{seed}/{name}") for name, numbers in groups.items()}
    turns = array("Q")
    for at, order in enumerate(orders.values()):
        turns.extend([at] * (len(order) // size if whole else -(-len(order) // size)))
    Random(seed).shuffle(turns)
    taken = [0] * len(orders)
    by_turn = list(orders.values())
    for at in turns:
        yield by_turn[at][taken[at] : taken[at] + size]
        taken[at] += size


def shuffled(numbers: range, seed: str) -> Numbers:
    order = array("Q", numbers)
    Random(seed).shuffle(order)
    return order


def spaced(length: int, count: int) -> list[int]:
    """`count` numbers below `length`, evenly spaced from the first to the last."""
    return [at * (length - 1) // max(1, count - 1) for at in range(count)]
