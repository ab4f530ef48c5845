"""JSON arrays: elements are found on the bytes, and each is a row or a fault of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage.sources import Bounds, json_array

from .reading import opened, read, rows

MODEST = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
leaves = st.none() | st.booleans() | st.integers(-999, 999) | st.text('aé"\\,[]{}\n', max_size=12)
values = st.recursive(
    leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3)
)
elements = st.lists(st.dictionaries(st.text(max_size=4), values, max_size=3), max_size=12)


@MODEST
@given(elements, st.integers(1, 40), st.integers(1, 5), st.sampled_from([None, 1]))
def test_every_element_once_in_order(
    tmp_path: Path, objects: list[dict[str, Any]], chunk: int, limit: int, indent: int | None
) -> None:
    """Wherever chunks and spans are cut, inside strings and escapes too."""
    (tmp_path / "a.json").write_text(json.dumps(objects, indent=indent))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "CHUNK", chunk)
        _, records = read(opened(tmp_path, "a.json"), bounds=Bounds(rows=limit))
    assert [record.fault for record in records] == [None] * len(objects)
    assert [dict(record.values) for record in records] == objects


@MODEST
@given(st.binary(max_size=60).map(lambda data: b"[" + data), st.integers(1, 3))
def test_any_bytes_are_read_as_they_were_surveyed(tmp_path: Path, data: bytes, limit: int) -> None:
    """Garbage gives faults, and as many of them as the survey promised."""
    (tmp_path / "a.json").write_bytes(data)
    _, records = read(opened(tmp_path, "a.json"), bounds=Bounds(rows=limit))
    assert len({record.place for record in records}) == len(records)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ('[{"n": 1}, {"n": }, {"n": 2}]', [1, None, 2]),
        ('[{"n": 1}, {"n": 2}} , {"n": 3}]', [1, None, 3]),
        ('[{"n": 1}, 7, [2], {"n": 3}]', [1, None, None, 3]),
        ('[{"n": 1},, {"n": 3}]', [1, None, 3]),
        ('[{"n": 1}, {"n": 2}', [1, 2, None]),
        ('[{"n": 1}, {"n": 2},\n', [1, 2, None]),
        ('[{"n": 1}, {"n": "2', [1, None]),
        ('[{"n": 1}] [{"n": 2}]', [1, None]),
        ('[{"n": 1},]', [1]),
        ("[]", []),
        ("[", [None]),
        (" \n", []),
        ("", []),
        ('\ufeff[{"n": 1}]\n', [1]),
    ],
)
def test_malformed_and_torn(tmp_path: Path, text: str, good: list[int | None]) -> None:
    """A broken element is one fault; a torn end is one too, and the rest is read."""
    (tmp_path / "a.json").write_text(text)
    stored, records = read(opened(tmp_path, "a.json"), bounds=Bounds(rows=2))
    assert [record.values.get("n") for record in records] == good
    assert [record.fault is None for record in records] == [n is not None for n in good]
    spans = [span for block in stored for span in block.spans]
    assert list(opened(tmp_path, "a.json").rest(spans)) == []


def test_a_fault_names_its_line(tmp_path: Path) -> None:
    """The line is that on which the element begins."""
    (tmp_path / "a.json").write_text('[\n{"n": 1},\n{"n": \n}\n]')
    _, records = read(opened(tmp_path, "a.json"))
    assert str(records[1].fault).startswith("a.json:3: ")


def test_an_array_that_grew(tmp_path: Path) -> None:
    """Elements that were added at its end are new rows."""
    path = tmp_path / "a.json"
    path.write_text('[\n{"n": 1}\n]\n')
    source = opened(tmp_path, "a.json")
    stored, _ = read(source)
    path.write_text('[\n{"n": 1},\n{"n": 2}\n]\n')
    assert source.intact(stored[0].spans[0])
    _, added = read(source, stored)
    assert [(record.place, record.values) for record in added] == [("0/a.json#1", {"n": 2})]


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"a": 1}\n{"a": 2}', "set `format: jsonl`"), ("text", "not a JSON array")],
)
def test_another_top_level(tmp_path: Path, text: str, message: str) -> None:
    """A file that is no array is a mistake of the configuration, and says what would help."""
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, "a.json")


def test_a_huge_element(tmp_path: Path) -> None:
    """An element of many chunks is read once, not once per chunk."""
    huge = {"x": '\\"[' * 2_000_000}
    (tmp_path / "a.json").write_bytes(orjson.dumps([{"n": 1}, huge, {"n": 2}]))
    found = rows(tmp_path, "a.json")
    assert found == [{"n": 1}, huge, {"n": 2}]
