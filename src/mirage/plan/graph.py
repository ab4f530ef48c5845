"""In which order steps run: what each one waits for, and which run once for every child."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from mirage.steps.filter import FilterStep
from mirage.steps.step import Step


class Graph(Struct, frozen=True):
    """`trunk` runs once per record, `branch` once per child of the `many` step; both in an order
    in which everything comes after what it waits for. `after` names what each step waits for;
    `chained` says that each step waits for the one before it, so that there is nothing to overlap.
    """

    trunk: tuple[Step, ...]
    branch: tuple[Step, ...]
    after: Mapping[str, frozenset[str]]
    chained: bool


class CycleError(ValueError):
    """Steps that wait for each other; `names` in order."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(" needs ".join([*names, names[0]]))


def arrange(steps: Sequence[Step], many: str | None) -> Graph:
    """Order the steps, in declared order wherever there is a choice. Raises CycleError.

    A filter gates every step declared after it, except those that it needs itself: what it drops
    shall not be paid for.
    """
    names = {step.name for step in steps}
    after = {step.name: step.needs & names for step in steps}
    for number, gate in enumerate(steps):
        if isinstance(gate, FilterStep):
            needed = reach(gate.name, after)
            for step in steps[number + 1 :]:
                if step.name not in needed:
                    after[step.name] |= {gate.name}
    ordered = sort(steps, after)
    branch = [step for step in ordered if many in reach(step.name, after)]
    trunk = [step for step in ordered if step not in branch]
    return Graph(
        tuple(trunk), tuple(branch), after, chained(trunk, after) and chained(branch, after)
    )


def reach(name: str, after: Mapping[str, frozenset[str]]) -> set[str]:
    """Everything that a step waits for, directly or not."""
    found: set[str] = set()
    ahead = [name]
    while ahead:
        fresh = after[ahead.pop()] - found
        found |= fresh
        ahead.extend(fresh)
    return found


def sort(steps: Sequence[Step], after: Mapping[str, frozenset[str]]) -> list[Step]:
    """The steps, each after those that it waits for."""
    ordered: list[Step] = []
    done: set[str] = set()
    while len(ordered) < len(steps):
        ready = (step for step in steps if step.name not in done and after[step.name] <= done)
        step = next(ready, None)
        if step is None:
            raise CycleError(cycle(after, done))
        ordered.append(step)
        done.add(step.name)
    return ordered


def cycle(after: Mapping[str, frozenset[str]], done: set[str]) -> list[str]:
    """The names of one cycle among the steps that are not done."""
    trail = [next(name for name in after if name not in done)]
    while True:
        follower = min(after[trail[-1]] - done)
        if follower in trail:
            return trail[trail.index(follower) :]
        trail.append(follower)


def chained(steps: Sequence[Step], after: Mapping[str, frozenset[str]]) -> bool:
    return all(before.name in after[step.name] for before, step in pairwise(steps))
