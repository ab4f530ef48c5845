"""The elements of a large JSON array or object, one after another: the file is mapped, not loaded.

What a source needs of a JSON file is a list of ids, which stands beside much that it does not need.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

# A whole string, or a structural character. The quantifiers are possessive: no stack, no retrying.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:]', re.DOTALL)
OPEN, CLOSE = b"[{", b"]}"
SPACE = b" \t\r\n"


class TornError(ValueError):
    """The JSON does not go on where it should; what was read before it stands."""


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """A file as bytes. Raises ValueError where there is nothing in it."""
    if not path.is_file() or not path.stat().st_size:
        raise ValueError(f"{path} is no file, or an empty one: a JSON file is wanted")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        yield text


def elements(text: mmap.mmap, at: int = 0) -> Iterator[tuple[str, int, int]]:
    """Of the array or object that opens at `at`: key ("" in an array), start and stop of each
    value. Raises TornError where it does not close.
    """
    depth, key, begin = 0, "", at
    for token in TOKEN.finditer(text, at):
        kind = text[token.start() : token.start() + 1]
        if kind in OPEN:
            depth += 1
            begin = token.end() if depth == 1 else begin
        elif depth == 1 and kind in b":,]}":
            piece = text[begin : token.start()].strip(SPACE) if kind == b":" else b""
            if piece:
                key = str(value(piece, begin))
            elif text[begin : token.start()].strip(SPACE):
                yield key, begin, token.start()
                key = ""
            begin = token.end()
        if kind in CLOSE:
            depth -= 1
            if depth == 0:
                return
    raise TornError(f"the JSON ends at byte {len(text):,} without its last bracket")


def value(text: bytes, at: int) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise TornError(f"byte {at:,}: not JSON: {exc}") from exc
