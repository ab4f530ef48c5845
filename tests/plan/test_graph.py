"""In which order steps run, and which of them run once for each child."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from mirage.plan.graph import CycleError, arrange
from mirage.steps.filter import FilterStep
from mirage.steps.step import Step
from mirage.template import compile_expression


@dataclass(frozen=True)
class Plain:
    """A step of which only the name and the needs matter."""

    name: str
    needs: frozenset[str] = frozenset()
    journalled: bool = True

    async def run(self, scope: Any) -> Any:
        raise NotImplementedError

    def recall(self, completion: Any, values: Any) -> Any:
        raise NotImplementedError


def step(name: str, *needs: str) -> Plain:
    return Plain(name, frozenset(needs))


def gate(name: str, keep: str, names: set[str]) -> FilterStep:
    return FilterStep(name, compile_expression(keep, names))


def names(steps: Any) -> list[str]:
    return [each.name for each in steps]


def test_needs_come_first() -> None:
    """Steps stand after what they need, and otherwise as declared; inputs are nobody's step."""
    graph = arrange([step("c", "b"), step("d", "q"), step("b", "a"), step("a", "q")], None)
    assert names(graph.trunk) == ["d", "a", "b", "c"]
    assert graph.branch == ()
    assert not graph.chained


def test_a_chain_has_nothing_to_overlap() -> None:
    """Where each step waits for the one before, there is no need of tasks."""
    assert arrange([step("a"), step("b", "a"), step("c", "b")], None).chained
    assert not arrange([step("a"), step("b", "a"), step("c", "a")], None).chained


@pytest.mark.parametrize(
    "steps", [[step("a", "a")], [step("x"), step("a", "b"), step("b", "c"), step("c", "a")]]
)
def test_a_cycle_is_named(steps: list[Plain]) -> None:
    """Steps that wait for each other are told, from one of them around to itself."""
    with pytest.raises(CycleError) as caught:
        arrange(steps, None)
    assert set(caught.value.names) <= {"a", "b", "c"}
    assert str(caught.value).startswith("a needs ")
    assert str(caught.value).endswith(" needs a")


def test_a_filter_gates_what_is_declared_after_it() -> None:
    """What it may drop is not paid for; what it needs itself runs before it, wherever declared."""
    known = {"a", "b", "c", "d"}
    steps: list[Step] = [
        step("a"),
        gate("keep", "c == 1", known),
        step("b"),
        step("c"),
        step("d", "a"),
    ]
    graph = arrange(steps, None)
    order = names(graph.trunk)
    assert order.index("c") < order.index("keep") < min(order.index("b"), order.index("d"))
    assert "keep" not in graph.after["c"]
    assert {"keep"} <= graph.after["b"]
    assert {"keep"} <= graph.after["d"]


def test_children_begin_behind_many() -> None:
    """What depends on the items runs for each of them, all else once for the record."""
    known = {"a", "items", "b", "c", "d"}
    steps: list[Step] = [
        step("a"), step("items", "a"), step("b", "items"), step("c", "a"),
        gate("keep", "items == 1", known), step("d", "c"),
    ]  # fmt: skip
    graph = arrange(steps, "items")
    assert set(names(graph.trunk)) == {"a", "items", "c"}
    assert set(names(graph.branch)) == {"b", "keep", "d"}
