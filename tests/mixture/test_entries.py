"""The entries of a JSON object, one by one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage.errors import SourceError
from mirage.mixture.entries import Entries
from mirage.sources.mimicit_files import KNOWN

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(st.none() | WORDS | st.integers(-9, 9), lambda v: st.lists(v, max_size=3))
OBJECTS = st.dictionaries(WORDS, VALUES.map(lambda v: {"instruction": v}), min_size=1, max_size=8)


def written(folder: Path, text: str) -> Path:
    path = folder / "entries.json"
    path.write_text(text)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OBJECTS, st.sampled_from([None, 2]), st.booleans(), st.booleans())
def test_every_entry_is_found_by_number_and_by_key(
    tmp_path: Path, entries: dict[str, object], indent: int | None, ascii: bool, first: bool
) -> None:
    """Wherever `data` stands, and however the file is laid out."""
    whole = {"data": entries, "meta": {"a": [1]}} if first else {"meta": {}, "data": entries}
    text = json.dumps(whole, indent=indent, ensure_ascii=ascii)
    found = Entries(written(tmp_path, text), KNOWN)
    assert not found.torn
    assert dict(found[n] for n in range(len(found))) == entries
    for number, key in enumerate(entries):
        assert found.key(number) == key
        assert found.find(key) == number
    assert found.find("nowhere at all") is None


def test_of_equal_keys_the_last_counts(tmp_path: Path) -> None:
    found = Entries(written(tmp_path, '{"a": [1], "b": [2], "a": [3]}'))
    assert [found[n] for n in range(3)] == [("a", [1]), ("b", [2]), ("a", [3])]
    assert found.find("a") == 2


def test_what_stands_before_a_tear_is_here(tmp_path: Path) -> None:
    found = Entries(written(tmp_path, '{"a": ["x"], "b": ["y"], "c": ["z'))
    assert [found.key(n) for n in range(len(found))] == ["a", "b"]
    assert found.find("c") is None
    assert found.torn == "at byte 23"


@pytest.mark.parametrize("text", ['{"a": ["x"]', '{"a": ["x"],', '{"data": {"a": {"answer": ""}}'])
def test_an_object_that_does_not_end_is_torn(tmp_path: Path, text: str) -> None:
    found = Entries(written(tmp_path, text), KNOWN if "data" in text else frozenset())
    assert found.key(0) == "a"
    assert found.torn


def test_a_broken_entry_harms_no_other(tmp_path: Path) -> None:
    found = Entries(written(tmp_path, '{"a": ["x"], "b": [y], "c": ["z"]}'))
    with pytest.raises(SourceError, match="no JSON"):
        found[1]
    assert found[2] == ("c", ["z"])


def test_entries_go_to_another_process(tmp_path: Path) -> None:
    found = Entries(written(tmp_path, '{"a": [1], "b": [2]}'))
    assert found[0] == ("a", [1])
    assert pickle.loads(pickle.dumps(found))[1] == ("b", [2])


def test_a_file_that_is_no_object_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="object"):
        Entries(written(tmp_path, "[1, 2]"))
