"""Keys of the source."""

from __future__ import annotations

from typing import Any

import pytest

from mirage.errors import SelectError
from mirage.select import MISSING, compile_key, fields_of

ROW: dict[str, Any] = {
    "conversations": [{"content": "q"}, {"content": None}],
    "meta": {"image-id": 4},
    "tags": ["x", "y"],
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("conversations[0].content", "q"),
        ("conversations[-2].content", "q"),
        (' meta."image-id" ', 4),
        ("conversations[1].content", None),
        ("conversations[2].content", MISSING),
        ("meta.other", MISSING),
        ("conversations[].content", ["q"]),
        ("length(tags)", 2),
        ("tags[?@ == 'z'] | [0]", MISSING),
        ("@", ROW),
    ],
)
def test_a_key_finds_its_value_or_that_it_is_missing(key: str, value: Any) -> None:
    """Plain paths keep null apart from missing; other expressions take null for missing."""
    assert compile_key(key)(ROW) == value


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "empty"),
        ("a[", "not a JMESPath expression"),
        ("meta.image-id", "double quotes"),
        ("turns.0.content", "brackets"),
        ("lenght(tags)", "did you mean 'length'"),
        ("map(&nope(@), tags)", "unknown function 'nope'"),
    ],
)
def test_a_bad_key_is_refused_when_it_is_compiled(key: str, says: str) -> None:
    """The error says what is wrong, and how to write it where that can be guessed."""
    with pytest.raises(ValueError, match=says):
        compile_key(key)


def test_an_expression_that_does_not_apply_fails_the_row() -> None:
    """A function of the wrong type is this row's trouble, not a crash."""
    with pytest.raises(SelectError) as caught:
        compile_key('length(meta."image-id")')(ROW)
    assert caught.value.kind == "expression"


@pytest.mark.parametrize(
    ("keys", "fields"),
    [
        ([], set()),
        (["id", " conversations[1].content ", '"image-id".x'], {"id", "conversations", "image-id"}),
        (["id", "length(tags)"], None),
        (["@"], None),
    ],
)
def test_the_fields_that_keys_read(keys: list[str], fields: set[str] | None) -> None:
    """Plain paths say it; an expression may read anything."""
    assert fields_of(keys) == fields
