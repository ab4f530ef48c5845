"""What a sample loses between two formats is what the table says."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mirage.errors import SinkError
from mirage.formats import SHAPES, shape
from mirage.formats.instruction import Instruction
from mirage.formats.losses import FIELDS, losses
from mirage.formats.shape import Reading, among, fit

from .samples import common, comparable, samples

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
PAIRS = list(permutations(SHAPES, 2))


@pytest.mark.parametrize(("source", "target"), PAIRS)
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_pair_of_formats_loses_what_is_said(
    source: str, target: str, data: st.DataObject
) -> None:
    """Through the rows of both; nothing is lost that is not named, and nothing else changes."""
    first, second = shape(source), shape(target)
    reading = Reading(among(None, given=False))
    if losses(source, target).refused == ("all",):
        with pytest.raises(SinkError):
            fit(fit(data.draw(samples(first.holds)), first)[0], second)
        return
    try:
        sample = fit(data.draw(samples(common(first.holds, second.holds))), first)[0]
        sample = first.read(first.write(sample), reading)
        kept, gone = fit(sample, second)
        row = second.write(kept)
    except SinkError:
        assume(False)
    back = second.read(row, reading)
    assert not reading.broken
    assert comparable(back) == comparable(kept)
    assert {FIELDS.get(name, name) for name in gone} <= {*losses(source, target).lost}


def test_every_field_has_a_word() -> None:
    """A new field of a sample is lost by name, too."""
    needed = {"turns", "images"}
    assert {*FIELDS} - {"ids"} == {*Instruction.__struct_fields__} - needed


def test_the_page_shows_the_table() -> None:
    """docs/formats.md says of every pair what is lost, and what is refused."""
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| **")]
    shown = {row.split("**")[1]: [cell.strip() for cell in row.split("|")[2:-1]] for row in rows}
    for source in SHAPES:
        assert shown[source] == [code(source, target) for target in SHAPES], table()


CODES = dict(zip([*FIELDS.values(), "image positions"], "isrlcCawogmnp", strict=True))


REFUSALS = [("all", "none"), ("without ", "1"), ("images in answers", "2"), ("more than ", "3")]


def code(source: str, target: str) -> str:
    """A cell: a letter for each loss, and behind them a number for each kind of refusal."""
    found = losses(source, target)
    letters = "".join(CODES[each] for each in found.lost)
    numbers = [sign for what, sign in REFUSALS if any(r.startswith(what) for r in found.refused)]
    assert bool(numbers) == bool(found.refused)
    return " ".join(filter(None, [letters, *numbers])) or "="


def table() -> str:
    """The table as the page has it: see CONTRIBUTING.md for how to print it."""
    lines = [f"| from \\ to | {' | '.join(SHAPES)} |", "|---" * (len(SHAPES) + 1) + "|"]
    for source in SHAPES:
        cells = " | ".join(code(source, target) for target in SHAPES)
        lines.append(f"| **{source}** | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
