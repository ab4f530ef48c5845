"""The shape of every format, as files: rows that keep its rules, and twins that break one each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from mirage.formats import SHAPES, recognise, shape
from mirage.formats.shape import Reading, among

from .samples import comparable

GOLDEN = Path(__file__).parent / "golden"


def lines(name: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (GOLDEN / name).read_bytes().splitlines()]


def reading() -> Reading:
    return Reading(among(GOLDEN, given=False))


@pytest.mark.parametrize("name", SHAPES)
def test_golden_rows_keep_the_rules(name: str) -> None:
    """No reader finds anything wrong with them, and writing what was read gives the same row."""
    form = shape(name)
    for row in lines(f"{name}.jsonl"):
        look = reading()
        sample = form.read(row, look)
        assert not look.broken
        assert as_given(form.write(sample)) == row


@pytest.mark.parametrize("name", SHAPES)
def test_a_broken_twin_is_told_by_its_rule(name: str) -> None:
    """Each row of the second file breaks the rule that stands beside it, and no other."""
    for twin in lines(f"{name}.broken.jsonl"):
        look = reading()
        shape(name).read(twin["row"], look)
        assert {fault.rule for fault in look.broken} == {twin["rule"]}


@pytest.mark.parametrize("name", SHAPES)
def test_golden_rows_are_recognised(name: str) -> None:
    """Without a name, they are taken for a format that reads the same samples out of them."""
    rows = lines(f"{name}.jsonl")
    taken = shape(recognise(rows) or "")
    for row in rows:
        mine, theirs = shape(name).read(row, reading()), taken.read(row, reading())
        assert comparable(mine) == comparable(theirs)


def as_given(value: Any) -> Any:
    """A row as the file has it: an image is what it came as."""
    if isinstance(value, Mapping):
        return {key: as_given(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_given(item) for item in value]
    return getattr(value, "given", value)
