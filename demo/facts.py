"""Read facts.txt: the hand-written facts of the shipped demonstration data, never trained on."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path


@cache
def _sections() -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("facts.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            lines = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            lines.append(line)
    return sections


def rows(kind: str) -> list[list[str]]:
    """The facts of one kind, each as the list of its parts."""
    return [line.split(" / ") for line in _sections()[kind]]


def all_texts() -> Iterator[str]:
    """Every fact, as it is written."""
    for lines in _sections().values():
        yield from lines
