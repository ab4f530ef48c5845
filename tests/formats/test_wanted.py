"""What columns alone tell of a row is certain: what is lacking would have been refused."""

from __future__ import annotations

import orjson
import pytest

from mirage.formats import SHAPES, shape
from mirage.formats.wanted import SAID_IN, lacking

from .test_golden import GOLDEN


@pytest.mark.parametrize("name", SHAPES)
def test_samples_of_a_format_lack_nothing_of_it(name: str) -> None:
    """Neither as they are written, nor as neutral rows."""
    for line in (GOLDEN / f"{name}.jsonl").read_bytes().splitlines():
        assert not list(lacking(orjson.loads(line), name))


@pytest.mark.parametrize("name", [name for name in SHAPES if shape(name).holds.needs])
def test_every_need_has_its_columns(name: str) -> None:
    """Of all formats that hold it; an image may stand within the messages, too."""
    for field in shape(name).holds.needs - {"images"}:
        for each in (each for each in SHAPES if field in shape(each).holds.fields):
            lines = (GOLDEN / f"{each}.jsonl").read_bytes().splitlines()
            rows = [orjson.loads(line) for line in lines]
            said = [any(row.get(key) is not None for key in SAID_IN[field]) for row in rows]
            assert any(said), each


@pytest.mark.parametrize(
    ("columns", "name", "said", "column"),
    [
        ("id mesages", "trl", "trl is made from `messages`", ("mesages",)),
        ("id text", "llava", "`messages` or `conversations`", ()),
        ("instruction ouput", "alpaca", "did you mean 'output'?", ("ouput",)),
        ("messages", "trl-preference", "without its rejected answer: add `rejected`", ()),
        ("messages rejectd", "trl-preference", "did you mean 'rejected'?", ("rejectd",)),
        ("id messages choices", "a-okvqa", "without its correct choice: add `correct`", ()),
    ],
)
def test_what_is_lacking_is_named(
    columns: str, name: str, said: str, column: tuple[str, ...]
) -> None:
    """With a column that may be a slip of the pen."""
    (lack,) = lacking(columns.split(), name)
    assert said in lack.message
    assert lack.column == column
