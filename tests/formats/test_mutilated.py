"""Rows with anything in the place of anything: read, or told what is wrong, and never an error."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.formats import SHAPES, recognise, shape
from mirage.formats.shape import Reading, among

GOLDEN = Path(__file__).parent / "golden"
LEAVES = st.sampled_from(
    [None, True, 0, -1, 2**70, 1.5, "", "<image>", "images/1.jpg", "user", "data:,", "\ud800"]
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "url", "x"]), inner)
    ),
    max_leaves=4,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Everything within a row, as what it stands in and its key or index."""
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys if isinstance(value, dict | list) else ():
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_row_with_anything_in_it_is_read_or_told(name: str, data: st.DataObject) -> None:
    """Up to three places of a golden row hold something else, or nothing at all."""
    rows = (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()
    row = deepcopy(orjson.loads(data.draw(st.sampled_from(rows))))
    for _ in range(data.draw(st.integers(1, 3))):
        if not (found := list(places(row))):
            break
        inside, key = data.draw(st.sampled_from(found))
        if data.draw(st.booleans()):
            inside[key] = data.draw(ANYTHING)
        else:
            del inside[key]
    reading = Reading(among(GOLDEN, given=False))
    sample = shape(name).read(row, reading)
    assert reading.broken or sample.turns
    assert recognise([row]) in {None, *SHAPES}
