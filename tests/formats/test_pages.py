"""What the pages about formats show is read by the formats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from mirage.formats import SHAPES, shape
from mirage.formats.shape import Reading, among
from mirage.record import Image

from .samples import PICTURES

DOCS = Path(__file__).parents[2] / "docs" / "formats"
EXAMPLE = re.compile(r"^```json\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = {name: name for name in SHAPES} | {"trl-preference": "trl"}


def examples(name: str) -> list[dict[str, Any]]:
    """The rows that a page shows under the name of a format, or all where it has one format."""
    page = DOCS / f"{PAGES[name]}.md"
    text = page.read_text("utf-8") if page.exists() else ""
    _, found, part = text.partition(f"`{name}`:\n")
    shown = EXAMPLE.findall(part if found else text)[: 1 if found else None]
    rows = [orjson.loads(each) for each in shown]
    return [row for each in rows for row in (each if isinstance(each, list) else [each])]


def anywhere(value: Any) -> Image:
    """Images as they are found, and a picture for every path."""
    if isinstance(value, str) and value[:5] != "data:":
        return PICTURES[0]
    return among(None, given=False)(value)


@pytest.mark.parametrize("name", [name for name in SHAPES if examples(name)])
def test_the_examples_of_a_page_keep_the_rules(name: str) -> None:
    for row in examples(name):
        reading = Reading(anywhere)
        sample = shape(name).read(row, reading)
        assert not reading.faults
        assert sample.turns


def test_our_pages_have_examples() -> None:
    """The search for them finds what is there."""
    counts = {name: len(examples(name)) for name in ("trl", "trl-preference", "axolotl", "openai")}
    assert set(counts.values()) == {1}


def test_the_index_leads_to_every_page() -> None:
    """docs/formats.md, where a reader begins."""
    index = (DOCS.parent / "formats.md").read_text("utf-8")
    assert not [page.name for page in DOCS.glob("*.md") if f"(formats/{page.name})" not in index]
