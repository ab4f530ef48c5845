"""Words, numbers and layout: what all commands print with.

What comes from data or from a model is printed with its control characters made visible, so that
nothing in a dataset can drive the terminal.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import asdict

from mirage.places import RemotePath, is_remote
from mirage.places.opening import without_secrets

LABEL = 10
LASTING = frozenset({"source", "select", "template", "sink"})
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def say(text: str = "", *, err: bool = False) -> None:
    """Print a line. A reader that has gone away is no error: the command goes on without it."""
    stream = sys.stderr if err else sys.stdout
    try:
        click.echo(text, err=err, color=False if "NO_COLOR" in os.environ else None)
        stream.flush()
    except BrokenPipeError:
        mute(stream.fileno())


def mute(descriptor: int) -> None:
    """Whatever is still to be written there goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def say_json(value: Any) -> None:
    """The one JSON document of a command."""
    import orjson

    option = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    say(orjson.dumps(value, default=plain, option=option).decode())


def plain(value: Any) -> Any:
    """What JSON has no place for: a struct is its fields, all else its text."""
    return asdict(value) if isinstance(value, Struct) else str(value)


def width() -> int:
    """Columns to fill: the terminal's, but at least 40 and at most 100."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, 40), 100)


def clean(text: str) -> str:
    """Text from outside, harmless to a terminal."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text.replace("\r\n", "\n"))


def short(text: str, most: int = 300) -> str:
    """Text from outside on one line, cut where it is long."""
    line = " ".join(clean(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def field(label: str, text: str, *, color: str | None = None) -> str:
    """A label and its text, wrapped into the column beside it.

    Line breaks are kept, and so are long words: paths are there to be copied.
    """
    room = width() - LABEL - 2
    lines = [
        wrapped
        for line in text.splitlines() or [""]
        for wrapped in textwrap.wrap(
            line, room, replace_whitespace=False, break_long_words=False, break_on_hyphens=False
        )
        or [""]
    ]
    rest = "\n".join([lines[0], *(" " * (LABEL + 2) + line if line else "" for line in lines[1:])])
    return "  " + click.style(f"{label:<{LABEL}}", dim=True) + click.style(rest, fg=color)


def fields(shown: Iterable[tuple[str, str]]) -> str:
    """Several fields; those without a text are left out."""
    return "\n".join(field(label, text) for label, text in shown if text)


def warning(text: str) -> str:
    return click.style("warning: ", fg="yellow", bold=True) + clean(text)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3:05 min`, `2:03:09 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


def rate(per_second: float) -> str:
    """`12.3 records/s`, with about three digits."""
    digits = 0 if per_second >= 100 or not per_second else 1 if per_second >= 1 else 3
    return f"{per_second:,.{digits}f} records/s"


def size(count: int) -> str:
    """Bytes, as `12.3 KB` (1 KB is 1,000 bytes)."""
    if count < 1000:
        return f"{count} B"
    amount, unit = next(
        (count / scale, unit)
        for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))
        if count >= scale
    )
    return f"{amount:.1f} {unit}"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def near(path: str | Path | RemotePath) -> str:
    """A path as it is shortest to write from here."""
    if isinstance(path, RemotePath) or is_remote(str(path)):
        return str(path)
    absolute, here = Path(path).absolute(), Path.cwd()
    below = absolute.is_relative_to(here) and here != Path(here.anchor)
    return str(absolute.relative_to(here)) if below else str(absolute)


def command(*words: str | Path) -> str:
    """A command line to copy; passwords and signatures in addresses are left out."""
    return without_secrets(shlex.join(str(word) for word in words))


def balance(whole: str, total: int, parts: Mapping[str, int]) -> str:
    """A sum that shows itself: `read 200 = written 198 + dropped 0 + failed 2`."""
    return f"{whole} {total:,} = " + " + ".join(f"{name} {n:,}" for name, n in parts.items())


def rows_of(number: int, rows: int) -> str:
    """What a cause counts, where it is not records alone: with `many`, rows fail by themselves."""
    return "" if not rows else " (rows)" if rows == number else f" ({counted(rows, 'row')})"


def may_pass(failures: Iterable[str]) -> bool:
    """Whether a retry can help any of these causes: a row that is malformed stays as it is."""
    return any(cause.split("/")[0] not in LASTING for cause in failures)
