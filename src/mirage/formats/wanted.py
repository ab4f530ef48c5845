"""What columns alone tell of a row: that it is no sample, or none that a format can hold.

A row may be refused for what stands in its columns, too; whatever is said here is certain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct

from mirage.formats import SHAPES, shape
from mirage.formats.losses import FIELDS
from mirage.formats.shape import marked
from mirage.names import suggest

SAID_IN = {
    "id": ("id", "question_id"),
    "rejected": ("rejected", "rejected_response"),
    "choices": ("choices",),
    "correct": ("correct", "correct_choice_idx"),
}
"""Where a row of any format says what a sample of some format cannot do without."""


class Lack(Struct, frozen=True):
    """Columns that are not there, in words. `column` holds the one that may be a slip of the pen,
    or is empty.
    """

    message: str
    column: tuple[str, ...]


def lacking(columns: Collection[str], name: str) -> Iterator[Lack]:
    """What rows with these columns lack to become samples of a format. Raises KeyError."""
    form = shape(name)
    if not any(marked(columns, shape(each).marks) for each in SHAPES):
        ways = dict.fromkeys([*shape("messages").marks, *form.marks])
        wanted = " or ".join(" + ".join(f"`{key}`" for key in sorted(way)) for way in ways)
        message = f"no sample has the columns {', '.join(columns)}: {name} is made from {wanted}"
        yield lack(message, columns, [key for way in ways for key in way])
        return
    for field in sorted(form.holds.needs & SAID_IN.keys()):
        if not {*columns} & {*SAID_IN[field]}:
            message = f"{name} takes no sample without its {FIELDS[field]}"
            yield lack(f"{message}: add `{SAID_IN[field][0]}`", columns, SAID_IN[field])


def lack(message: str, columns: Collection[str], wanted: Collection[str]) -> Lack:
    """The lack of `wanted` columns; one of a name much like theirs is likely meant to be it."""
    known = {key for each in SHAPES for mark in shape(each).marks for key in mark}
    for column in columns:
        if column not in known and (hint := suggest(column, {*wanted} - {*columns})):
            return Lack(message + hint, (column,))
    return Lack(message, ())
