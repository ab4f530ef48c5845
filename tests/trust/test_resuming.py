"""However a run is interrupted, what it comes to is what an undisturbed one comes to."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.errors import RunError, StoppedError
from mirage.session import Summary

from .engine import Scripted
from .trial import Trial

ITEM: dict[str, Any] = {
    "name": "item", "prompt": "List {q}", "output_type": "JSON", "many": True, "max_asks": 1,
    "output_schema": ["word"], "format_note": False,
}  # fmt: skip
CHAIN: list[dict[str, Any]] = [
    {"name": "a", "prompt": "A {q}"},
    {"name": "kept", "type": "filter", "keep": "q != 'row 3'"},
    {"name": "b", "prompt": "B {q}"},
    {"name": "c", "prompt": "C {a} {b}"},
]
FAMILY: list[dict[str, Any]] = [ITEM, {"name": "c", "prompt": "C {item.word}"}]


def stop() -> None:
    raise StoppedError("the test says stop")


def fault() -> None:
    raise RunError("the test pulled the plug")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_twice() -> None:
    interrupt()
    interrupt()


@dataclass(frozen=True)
class Case:
    """A small dataset, who fails in it, and when the run is interrupted, counted in calls."""

    rows: list[int]
    failing: set[int]
    many: bool
    block_rows: int
    capacity: int
    blows: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    def trial(self, folder: Path) -> tuple[Trial, Scripted]:
        answers: dict[str, str | None] = {}
        for number in range(8):
            words = ", ".join(f'{{"word": "{number}/{child}"}}' for child in range(number % 4))
            answers[f"List row {number}"] = f'{{"items": [{words}]}}'
        for number in self.failing:
            names = [f"B row {number}", f"C {number}/0", f"C {number}/2"]
            answers |= dict.fromkeys(names) | ({f"List row {number}": "no"} if number > 5 else {})
        engine = Scripted(answers, capacity=self.capacity)
        rows = [{"q": f"row {number}"} for number in self.rows]
        trial = Trial(folder, rows, engine, outputs=FAMILY if self.many else CHAIN)
        trial.set(output_schema={"q": "{q}", "c": "{c}"}, run={"block_rows": self.block_rows})
        return trial, engine


cases = st.builds(
    Case,
    rows=st.lists(st.integers(0, 7), min_size=1, max_size=24),
    failing=st.sets(st.integers(0, 7), max_size=4),
    many=st.booleans(),
    block_rows=st.integers(1, 9),
    capacity=st.integers(1, 6),
    blows=st.lists(
        st.tuples(
            st.integers(1, 20), st.sampled_from([stop, fault, interrupt, interrupt_twice])
        ),
        min_size=1,
        max_size=3,
    ),
)  # fmt: skip


def struck(
    run: Callable[[], Summary], engine: Scripted, at: tuple[int, Callable[[], None]]
) -> None:
    """A run that is struck at its so-maniest call, if it makes so many."""
    before, (call, blow) = engine.asked.total(), at
    engine.on_call = lambda number: blow() if number - before == call else None
    try:
        summary = run()
        assert summary.exit_code in (0, 3, 4, 130)
    except RunError as error:
        assert "the test" in str(error)
    engine.on_call = lambda number: None


def reached(trial: Trial) -> tuple[bytes | None, list[dict[str, Any]]]:
    """The dataset, which there is not where every record failed, and the failures."""
    return trial.data() if trial.target.exists() else None, trial.failures()


def balanced(summary: Summary, rows: int) -> bool:
    c = summary.counts
    made = c.rows_made == c.rows_written + c.rows_dropped + c.rows_failed
    return c.read == rows == c.written + c.dropped + c.failed and made


@settings(max_examples=30)
@given(cases)
def test_an_interrupted_run_comes_to_the_same(case: Case) -> None:
    """The same dataset, the same failures, sums that add up, and no call that was answered repeated
    but those in flight when the run was not allowed to finish them.
    """
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        trial, engine = case.trial(Path(one))
        hard = 0
        for blow in case.blows:
            struck(trial.run, engine, blow)
            hard += blow[1] is not interrupt
        summary = trial.run()
        undisturbed, calm = case.trial(Path(other))
        expected = undisturbed.run()
        assert reached(trial) == reached(undisturbed)
        assert summary.counts == expected.counts
        assert balanced(summary, len(case.rows))
        repeated = engine.asked - calm.asked
        answered = [prompt for prompt in repeated if engine.answers.get(prompt, "") is not None]
        assert sum(repeated[prompt] for prompt in answered) <= hard * case.capacity


@settings(max_examples=15)
@given(cases)
def test_a_retry_comes_to_the_same(case: Case) -> None:
    """Interrupted or not, a retry after the fault has gone brings all home, and a run after it has
    nothing to do.
    """
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        trial, engine = case.trial(Path(one))
        trial.run()
        healthy, calm = replace(case, failing=set()).trial(Path(other))
        healthy.run()
        engine.answers = calm.answers
        for blow in case.blows:
            struck(trial.retry, engine, blow)
        summary = trial.retry()
        assert balanced(summary, len(case.rows))
        assert reached(trial) == reached(healthy)
        asked = engine.asked.total()
        trial.run()
        assert engine.asked.total() == asked
