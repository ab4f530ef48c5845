"""Names and paths: how the dialect writes them, and what they lead to.

`conversations[1].content` is a path: names, quoted names (`"image-id"`) and indices, negative ones
from the end. Keys of the source (`select`) and references (`template`) both walk them here, so that
a missing value is told apart from null everywhere alike. The grammar is the plain part of JMESPath
(https://jmespath.org/specification.html), except that fields may hold any letters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Any, Final, Literal

Path = tuple[str | int, ...]
Getter = Callable[[Mapping[str, Any]], Any]

NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_FIELD: Final = r'(?:[^\W\d]\w*|"(?:[^"\\\n]|\\.)+")'
_INDEX: Final = r"\[-?\d{1,9}\]"
STEPS: Final = rf"(?:\.{_FIELD}|{_INDEX})*"
"""What may follow the first name of a path."""

_PATH = re.compile(rf"{_FIELD}{STEPS}")
_TOKEN = re.compile(rf"{_FIELD}|{_INDEX}")


class Missing(Enum):
    """The type of `MISSING`: nothing is there. Null (None) is a value and something else."""

    MISSING = "missing"

    def __bool__(self) -> Literal[False]:
        return False


MISSING: Final = Missing.MISSING


def parse_path(text: str) -> Path | None:
    """The steps of a plain path, fields as `str` and indices as `int`; None for anything else."""
    if not _PATH.fullmatch(text):
        return None
    try:
        return tuple(_step(token) for token in _TOKEN.findall(text))
    except ValueError:
        return None


def _step(token: str) -> str | int:
    if token.startswith("["):
        return int(token[1:-1])
    return str(json.loads(token)) if token.startswith('"') else token


def format_path(path: Path) -> str:
    """A path as it is written, `conversations[1].content`; the inverse of `parse_path`."""
    written = ""
    for step in path:
        if isinstance(step, int):
            written += f"[{step}]"
        else:
            plain = re.fullmatch(r"[^\W\d]\w*", step)
            written += ("." if written else "") + (step if plain else json.dumps(step))
    return written


def getter(path: Path) -> Getter:
    """A function that walks `path` through a mapping: the value, or `MISSING`.

    A field is looked up in mappings and an index in lists; a text has neither.
    """
    if len(path) == 1:
        name = str(path[0])
        return lambda values: values.get(name, MISSING)

    def get(values: Mapping[str, Any]) -> Any:
        value: Any = values
        try:
            for step in path:
                if type(step) is int and not isinstance(value, (list, tuple)):
                    return MISSING
                value = value[step]
        except (KeyError, IndexError, TypeError):
            return MISSING
        return value

    return get


def suggest(word: str, choices: Iterable[str]) -> str:
    """What to add to a message about an unknown word: `; did you mean 'x'?`, or nothing."""
    known = {choice.lower(): choice for choice in choices}
    close = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"; did you mean '{known[close[0]]}'?" if close else ""
