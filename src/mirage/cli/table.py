"""A table for the terminal: words to the left, numbers to the right, no wider than it must be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from mirage.cli.text import short, width

GAP = "  "
LEAST = 8


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """Lines under a dim head. The first `words` columns, and one called "spread", are set flush
    left; the former give way where the terminal is too narrow.
    """
    lines = [[cut(cell, 100) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    over = sum(widths) + len(GAP) * len(widths) - width()
    while over > 0 and max(widths[:words]) > LEAST:
        widest = max(range(words), key=widths.__getitem__)
        widths[widest] -= 1
        over -= 1
    left = {*range(words), *(at for at, name in enumerate(head) if name == "spread")}
    made = [
        GAP
        + GAP.join(
            f"{cut(cell, widths[at]):{'<' if at in left else '>'}{widths[at]}}"
            for at, cell in enumerate(line)
        )
        for line in lines
    ]
    return "\n".join(
        [click.style(made[0].rstrip(), dim=True), *(line.rstrip() for line in made[1:])]
    )


def cut(cell: str, most: int) -> str:
    """A cell on one line; blanks before its first word are kept, as an indentation."""
    indent = len(cell) - len(cell.lstrip(" "))
    return " " * indent + short(cell, most - indent)
