"""`mirage formats` as it is seen."""

from __future__ import annotations

import pytest

from cli.commands import mirage
from mirage.formats import SHAPES


def test_formats_and_their_files_stand_in_two_columns() -> None:
    """However long a name is."""
    head, *rows = mirage("formats").stdout.splitlines()
    at = head.index("kept in")
    assert [row[:at].strip() for row in rows] == [*SHAPES]
    assert all(row[at - 1] == " " and row[at] != " " for row in rows)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("messages", "llava"), "samples with images in answers"),
        (("alpaca", "trl-preference"), "samples without rejected answer; samples with images"),
        (("llava", "a-okvqa"), "every sample"),
    ],
)
def test_what_is_refused_is_said_in_words(pair: tuple[str, str], said: str) -> None:
    """Of two formats, the samples that the second cannot hold."""
    assert f"  refused   {said}" in mirage("formats", *pair).stdout


def test_an_unknown_format_leads_to_the_list() -> None:
    """Or to the name that was meant."""
    assert "`mirage formats` lists them" in mirage("formats", "zzz").stderr
    assert "did you mean 'llava'?" in mirage("formats", "lava", "trl").stderr
