"""The shape of every format, as files: rows that keep its rules, and twins that break one each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.config.data import SourceConfig
from mirage.dataset.verification import Violation, verify
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


@pytest.mark.parametrize("name", [name for name in SHAPES if "jsonl" in shape(name).containers])
def test_verify_tells_each_broken_twin_in_a_file(name: str, tmp_path: Path) -> None:
    """All of them in one run, each by its place and its rule, the sound ones by none; what rows of
    different kinds break together is told besides.
    """
    shutil.copytree(GOLDEN, tmp_path / "golden")
    sound, twins = lines(f"{name}.jsonl"), lines(f"{name}.broken.jsonl")
    rows = [*sound, *(twin["row"] for twin in twins)]
    text = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    (tmp_path / "golden" / "rows.jsonl").write_bytes(text)
    broken: dict[int, str] = {at: twin["rule"] for at, twin in enumerate(twins, len(sound))}
    told: dict[int, set[str]] = {}

    def report(found: Violation) -> None:
        if found.rule in broken.values() and not found.note:
            told.setdefault(int(found.place.rpartition("#")[2]), set()).add(found.rule)

    source = SourceConfig.model_validate({"path": "golden/rows.jsonl", "format": name})
    verify(source, base=tmp_path, report=report)
    assert told == {at: {rule} for at, rule in broken.items()}


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


KEYS = st.sampled_from(["role", "content", "type", "from", "value", "ref", "bbox", "path"])
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", "<image>", "user", "x"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=4,
)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=200)
@given(data=st.data())
def test_whatever_stands_in_a_row_is_told(name: str, data: st.DataObject) -> None:
    """A value of another type, however deep, or none at all, is no more than a broken rule."""
    row = data.draw(st.sampled_from(lines(f"{name}.jsonl")))
    place, key = data.draw(st.sampled_from([*places(row)]))
    if data.draw(st.integers(0, 3)):
        place[key] = data.draw(ODD)
    else:
        del place[key]
    recognise([row])
    look = reading()
    sample = shape(name).read(row, look)
    assert look.broken or sample.turns


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Everything that stands in a value, by what it stands in and where."""
    keys = (
        value if isinstance(value, Mapping) else range(len(value) if isinstance(value, list) else 0)
    )
    for key in keys:
        yield value, key
        yield from places(value[key])
