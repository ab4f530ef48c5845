"""`many`, filters and Python steps: rows that a record makes, loses, or fails to make."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mirage.session import Summary

from .engine import Scripted
from .trial import Trial

ITEMS: dict[str, Any] = {
    "name": "item", "prompt": "List: {q}", "output_type": "JSON", "many": True, "max_asks": 1,
    "output_schema": {"word": "str"}, "format_note": False,
}  # fmt: skip
SAID: dict[str, Any] = {"name": "said", "prompt": "Say {item.word}"}
ROW = {"q": "{q}", "word": "{item.word}", "said": "{said}"}
LISTS = {
    "List: two": '{"items": [{"word": "one"}, {"word": "two"}]}',
    "List: none": '{"items": []}',
    "List: bad": '{"items": [{"word": "bad"}, {"word": "good"}, {"word": "bad too"}]}',
    "List: junk": "no list at all",
}
STEPS = """
import os, time

def loud(q):
    with open(LOG, "a") as log:
        log.write(q + "\\n")
    if q == "raise":
        raise ValueError("not that")
    if q == "hang":
        time.sleep(600)
    if q == "die":
        os._exit(9)
    if q == "odd":
        return {1, 2}
    return q.upper()
"""


def balanced(summary: Summary) -> bool:
    c = summary.counts
    rows = c.rows_made == c.rows_written + c.rows_dropped + c.rows_failed
    return rows and c.read == c.written + c.dropped + c.failed


def words(trial: Trial) -> list[tuple[str, str]]:
    return [(row["q"], row["word"]) for row in trial.output()]


@pytest.fixture
def engine() -> Scripted:
    """Answers with the lists above, and fails wherever it reads "bad"."""
    return Scripted({**LISTS, "Say bad": None, "Say bad too": None})


@pytest.fixture
def trial(tmp_path: Path, engine: Scripted) -> Trial:
    rows = [{"q": name} for name in ("two", "none", "bad", "junk")]
    return Trial(tmp_path, rows, engine, outputs=[ITEMS, SAID], output_schema=ROW)


def test_a_child_fails_alone(trial: Trial) -> None:
    """The siblings of failed children are written, an empty list is dropped, and all is counted."""
    summary = trial.run()
    counts = summary.counts
    assert words(trial) == [("two", "one"), ("two", "two"), ("bad", "good")]
    assert (counts.read, counts.written, counts.dropped, counts.failed) == (4, 1, 1, 2)
    assert (counts.rows_made, counts.rows_written, counts.rows_failed) == (5, 3, 2)
    assert counts.drops == {"empty list": 1}
    assert balanced(summary)
    assert summary.exit_code == 3
    named = [(f["boundary"], f["step"], f.get("child"), f["raw"]) for f in trial.failures()]
    assert named == [
        ("engine", "said", 0, None),
        ("engine", "said", 2, None),
        ("parse", "item", None, "no list at all"),
    ]


def test_retry_calls_only_the_child(trial: Trial, engine: Scripted) -> None:
    """A retry asks for the failed children alone; one that fails again stays failed."""
    trial.run()
    engine.asked.clear()
    engine.answers["Say bad"] = "better"
    summary = trial.retry("engine")
    assert engine.asked == {"Say bad": 1, "Say bad too": 1}
    assert words(trial)[2:] == [("bad", "bad"), ("bad", "good")]
    assert balanced(summary)
    assert summary.counts.rows_failed == 1
    engine.asked.clear()
    engine.answers["Say bad too"] = "better as well"
    assert trial.retry("engine").counts.rows_failed == 0
    assert engine.asked == {"Say bad too": 1}
    assert words(trial)[2:] == [("bad", "bad"), ("bad", "good"), ("bad", "bad too")]


def test_retry_asks_for_a_list_again(trial: Trial, engine: Scripted) -> None:
    """A reply that was no list is not served again, and its record comes home."""
    trial.run()
    engine.asked.clear()
    engine.answers["List: junk"] = '{"items": [{"word": "late"}]}'
    trial.retry("parse")
    assert engine.asked == {"List: junk": 1, "Say late": 1}
    assert words(trial)[-1] == ("junk", "late")


def test_retry_pays_only_for_what_failed(tmp_path: Path) -> None:
    """The steps before the one that failed are not asked again; the next retry keeps what the
    last one brought.
    """
    chain = [{"name": n, "prompt": f"{n} {{{b}}}"} for b, n in ("qa", "ab", "bc", "cd")]
    engine = Scripted({"b <a x>": None})
    trial = Trial(tmp_path, [{"q": "x"}], engine, outputs=chain, output_schema={"d": "{d}"})
    assert trial.run().counts.failed == 1
    del engine.answers["b <a x>"]
    engine.answers["c <b <a x>>"] = None
    engine.asked.clear()
    assert trial.retry().counts.failed == 1
    assert engine.asked == {"b <a x>": 1, "c <b <a x>>": 1}
    engine.asked.clear()
    del engine.answers["c <b <a x>>"]
    assert trial.retry().exit_code == 0
    assert engine.asked == {"c <b <a x>>": 1, "d <c <b <a x>>>": 1}
    assert trial.output() == [{"d": "<d <c <b <a x>>>>"}]


def test_every_child_dropped(trial: Trial) -> None:
    """A filter drops children; where none is left, the record is dropped, its rows are counted."""
    keep = {"name": "kept", "type": "filter", "keep": "item.word != 'one' and item.word != 'two'"}
    trial.set(outputs=[ITEMS, keep, SAID])
    summary = trial.run()
    counts = summary.counts
    assert (counts.written, counts.dropped, counts.failed) == (0, 2, 2)
    assert (counts.rows_made, counts.rows_written) == (5, 1)
    assert (counts.rows_dropped, counts.rows_failed) == (2, 2)
    assert balanced(summary)


def test_filters_come_before_what_costs(tmp_path: Path) -> None:
    """What a filter drops is not asked further questions."""
    outputs: list[dict[str, Any]] = [
        {"name": "first", "prompt": "First {q}"},
        {"name": "long", "type": "filter", "keep": "q | length > 3"},
        {"name": "second", "prompt": "Second {q}"},
    ]
    engine = Scripted()
    rows = [{"q": "abcd"}, {"q": "abc"}]
    schema = {"a": "{first}", "b": "{second}"}
    summary = Trial(tmp_path, rows, engine, outputs=outputs, output_schema=schema).run()
    assert engine.asked == {"First abcd": 1, "First abc": 1, "Second abcd": 1}
    assert summary.counts.drops == {"long": 1}


def test_a_fault_of_ours_costs_one_child(
    trial: Trial, engine: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that nobody foresaw fails the child on whose way it arose, and no sibling."""
    calm = engine.complete

    async def broken(request: Any) -> Any:
        if request.messages[0].text == "Say one":
            raise ZeroDivisionError("oh")
        return await calm(request)

    monkeypatch.setattr(engine, "complete", broken)
    engine.slow = {"Say two": 0.2}
    summary = trial.run()
    assert ("two", "two") in words(trial)
    assert ("two", "one") not in words(trial)
    assert "ZeroDivisionError: oh" in trial.failures()[0]["message"]
    assert balanced(summary)


def test_python_steps_fail_alone(tmp_path: Path) -> None:
    """An exception, a time limit, a dead worker, a result that is no JSON: one record each; results
    are journalled.
    """
    log = tmp_path / "log"
    (tmp_path / "steps.py").write_text(STEPS.replace("LOG", repr(str(log))))
    step = {
        "name": "loud", "type": "python", "function": "loud", "file": str(tmp_path / "steps.py"),
        "timeout": 1.0,
    }  # fmt: skip
    rows = [{"q": q} for q in ("a", "raise", "hang", "b", "die", "odd", "c")]
    trial = Trial(tmp_path, rows, outputs=[step], output_schema={"loud": "{loud}"})
    summary = trial.run()
    assert [row["loud"] for row in trial.output()] == ["A", "B", "C"]
    kinds = [(f["boundary"], f["kind"]) for f in trial.failures()]
    assert kinds == [
        ("step", "exception"), ("step", "timeout"), ("step", "died"), ("step", "result")
    ]  # fmt: skip
    assert "ValueError: not that" in trial.failures()[0]["message"]
    assert balanced(summary)
    before = log.read_text()
    trial.set(output_schema={"q": "{q}", "loud": "{loud}"})
    os.truncate(log, 0)
    trial.run()
    assert not {"a", "b", "c"} & set(log.read_text().split())
    assert {"a", "b", "c"} <= set(before.split())
