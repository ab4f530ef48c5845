"""Entries of a JSON object: found on the bytes, and each is a row or a fault of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage.record import Span
from mirage.sources import json_object
from mirage.sources.blocks import BOUNDS, Bounds
from mirage.sources.json_object import Entries

KNOWN = frozenset({b'"answer"'})
MODEST = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
leaves = st.none() | st.booleans() | st.integers(-9, 999) | st.text('aé"\\,[]{}:\n', max_size=12)
values = st.recursive(
    leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3)
)
entries = st.dictionaries(
    st.text('aé"\\,[]{}: ', max_size=5),
    st.dictionaries(st.text(max_size=4), values, max_size=3).map(lambda v: {"answer": 1, **v}),
    max_size=9,
)
others = st.tuples(
    st.dictionaries(st.sampled_from(["meta", "x"]), values, max_size=2),
    st.dictionaries(st.sampled_from(["y", "z"]), values, max_size=2),
)


def spans(form: Entries, bounds: Bounds = BOUNDS) -> Iterator[Span]:
    form.check(form.path)
    for p in form.survey(form.path, None, bounds):
        yield Span(form.path.name, p.start, p.stop, p.row, p.rows, p.digest)


def found(path: Path, bounds: Bounds = BOUNDS) -> list[Any]:
    """The values of all rows, in order; the message of a fault in its place."""
    form = Entries(path, KNOWN)
    rows = []
    for span in spans(form, bounds):
        assert form.digest(path, span) == span.digest
        part = list(form.read(path, span))
        assert len(part) == span.rows
        rows += [str(fault) if fault else dict(values) for values, _, fault in part]
    return rows


@MODEST
@given(entries, others, st.integers(1, 40), st.integers(1, 5))
def test_every_entry_once_in_order(
    tmp_path: Path,
    data: dict[str, Any],
    beside: tuple[dict[str, Any], dict[str, Any]],
    chunk: int,
    limit: int,
) -> None:
    """Wherever chunks and spans are cut, and whatever stands before and behind `data`."""
    path = tmp_path / "a.json"
    before, after = beside
    path.write_text(json.dumps({**before, "data": data, **after}, indent=limit % 2 or None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_object, "CHUNK", chunk)
        assert found(path, Bounds(rows=limit)) == [{key: data[key]} for key in data]


@MODEST
@given(entries, st.sampled_from([None, {"version": "1"}]), st.integers(1, 40))
def test_entries_may_stand_at_the_top(
    tmp_path: Path, data: dict[str, Any], meta: dict[str, str] | None, chunk: int
) -> None:
    """A file without `data` is a mapping of entries; `meta` is none of them."""
    data = {key: value for key, value in data.items() if key not in ("data", "meta")}
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"meta": meta, **data} if meta and data else data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_object, "CHUNK", chunk)
        assert found(path) == [{key: data[key]} for key in data]


@MODEST
@given(st.binary(max_size=60).map(lambda data: b'{"data": {' + data), st.integers(1, 3))
def test_any_bytes_are_read_as_they_were_surveyed(tmp_path: Path, data: bytes, limit: int) -> None:
    """Garbage gives faults, and as many of them as the survey promised."""
    path = tmp_path / "a.json"
    path.write_bytes(data)
    found(path, Bounds(rows=limit))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ('{"data": {"a": {"n": 1}, "b": {"n": }, "c": {"n": 2}}}', "a-c"),
        ('{"data": {"a": {"n": 1}, "b", "c": {"n": 2}}}', "a-c"),
        ('{"data": {"a": {"n": 1},, "c": {"n": 2}}}', "a-c"),
        ('{"data": {"a": {"n": [1}, "c": {"n": 2}}}', "-c"),
        ('{"data": {"a": {"n": 1}, "b": {"n": "2', "a-"),
        ('{"data": {"a": {"n": 1}, "b": {"n": 2}', "ab-"),
        ('{"data": {"a": {"n": 1}, "b": {"n": 2},\n', "ab-"),
        ('{"data": {"a": {"n": 1}, "b": {"n": 2}}', "ab-"),
        ('{"data": {"a": {"n": 1}}, "b": {"n": 2}}}', "a-"),
        ('{"data": {"a": {"n": 1}}} {"more": 1}', "a-"),
        ('{"data": {"a": {"n": 1}}, "meta": "cut', "a-"),
        ('\ufeff{"data": {"a": {"n": 1}}, "meta": ["}"]}\n', "a"),
    ],
)
def test_what_is_torn_or_malformed_is_a_row_of_its_own(
    tmp_path: Path, text: str, good: str
) -> None:
    """The entries before it are read, and mostly those behind it."""
    path = tmp_path / "a.json"
    path.write_text(text)
    assert "".join("-" if isinstance(row, str) else "".join(row) for row in found(path)) == good


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "no object"),
        ("", "no object"),
        ('{"meta": {"version": "1"}}', "no object `data`"),
        ('{"meta": {"version": "1"', "ends before"),
        ('{"data": [1]}', "no object `data`"),
    ],
)
def test_a_file_without_entries_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """As a whole, before any row is read."""
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        found(path)


def test_entries_that_are_appended_are_surveyed_alone(tmp_path: Path) -> None:
    """The file is written anew, and its first bytes are what they were."""
    path = tmp_path / "a.json"
    path.write_text('{"data": {"a": {"answer": 1}}}')
    (stored,) = spans(Entries(path, KNOWN))
    path.write_text('{"data": {"a": {"answer": 1}, "b": {"answer": 2}}}')
    form = Entries(path, KNOWN)
    assert form.digest(path, stored) == stored.digest
    (further,) = form.survey(path, stored, BOUNDS)
    assert (further.row, further.rows) == (1, 1)
