"""Paths: written, read and walked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.names import MISSING, Path, format_path, getter, parse_path, suggest

STEPS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.integers(
    -99, 99
)


@given(st.tuples(st.text(min_size=1, max_size=8), st.lists(STEPS, max_size=4)))
@settings(max_examples=100)
def test_a_path_reads_back_as_it_was_written(path: tuple[str, list[str | int]]) -> None:
    """Whatever the fields hold, `parse_path` is the inverse of `format_path`."""
    whole: Path = (path[0], *path[1])
    assert parse_path(format_path(whole)) == whole


@pytest.mark.parametrize("text", ["", "a.", "a..b", "a[", "a[x]", "a.0", "a-b", "a b", ".a", "[0]"])
def test_what_is_no_plain_path_is_none(text: str) -> None:
    """Anything beyond names, quoted names and indices is left to others."""
    assert parse_path(text) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("a",), {"b": [{"c": None}, 7]}),
        (("a", "b", 0, "c"), None),
        (("a", "b", -1), 7),
        (("a", "b", 2), MISSING),
        (("a", "b", -3), MISSING),
        (("a", "x"), MISSING),
        (("x",), MISSING),
        (("a", "b", 0, "c", "d"), MISSING),
        (("a", "b", "c"), MISSING),
        (("s", 0), MISSING),
        (("s", "x"), MISSING),
        (("a", 0), MISSING),
    ],
)
def test_a_walk_tells_missing_from_null(path: Path, value: Any) -> None:
    """Null is a value; a step that leads nowhere, whatever the types, is missing."""
    assert getter(path)({"a": {"b": [{"c": None}, 7]}, "s": "text"}) == value


def test_a_suggestion_is_made_only_where_a_name_is_near() -> None:
    """A near miss, in any case, is suggested as it is written; a far one is not."""
    assert suggest("ANSWR", ["Answer", "question"]) == "; did you mean 'Answer'?"
    assert suggest("zebra", ["Answer", "question"]) == ""
