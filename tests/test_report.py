"""Counts and progress: what adds up, and what is saved for others to read."""

from __future__ import annotations

from pathlib import Path

import orjson
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from mirage.report import LONGEST_EXAMPLE, Counts, Progress, Tally

tallies = st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=4).map(Tally)


@given(tallies, tallies)
def test_tallies_add_name_by_name(one: Tally, other: Tally) -> None:
    """A name that only one of them has counts as 0 in the other."""
    total = one + other
    assert set(total) == {*one, *other}
    assert all(total[name] == one[name] + other[name] for name in total)


@given(tallies, tallies)
def test_counts_survive_being_saved(failures: Tally, drops: Tally) -> None:
    """Through `asdict` and JSON and back, causes and reasons included."""
    counts = Counts(read=3, written=1, dropped=1, failed=1, failures=failures, drops=drops)
    assert Counts.from_json(orjson.loads(orjson.dumps(asdict(counts)))) == counts


def test_progress_is_saved_with_its_failures(tmp_path: Path) -> None:
    """By cause, with the first message of each, cut where it is very long."""
    progress = Progress()
    failure = {"boundary": "parse", "kind": "schema", "message": "x" * 9_999}
    progress.counts.count("partial")
    progress.explain([failure, {**failure, "message": "second"}], by_row=True)
    progress.save(tmp_path)
    saved = orjson.loads((tmp_path / "progress.json").read_bytes())
    assert saved["counts"]["failed"] == 1
    assert saved["counts"]["failures"] == {"parse/schema": 2}
    assert saved["examples"] == {"parse/schema": "x" * LONGEST_EXAMPLE}
