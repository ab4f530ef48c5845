"""Thoughts before an answer."""

from __future__ import annotations

import pytest

from mirage.engines import thoughts


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("plain", "plain"),
        ("<think>\nhm\n</think>\n\nanswer", "answer"),
        ("<think>\nnever ends", ""),
        ("a <think> b </think> c", "a <think> b </think> c"),
    ],
)
def test_thoughts_are_no_part_of_the_answer(written: str, spoken: str) -> None:
    """A block of thoughts at the beginning is left out, an unfinished one leaves nothing."""
    assert thoughts.spoken(written) == spoken
