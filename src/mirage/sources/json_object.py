"""A JSON object of many entries, read entry by entry: no more than one is held in memory.

Entries lie in the object itself, or in the one at its key `data`; other keys are passed over. Their
boundaries are found on the bytes, so that a malformed entry is one record's fault and the next one
is read again. `JsonArray` does the same for arrays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from mirage.places import Place
from mirage.sources.bytewise import BOM, Bytewise, Split
from mirage.sources.json_array import STRING, TOKEN, within
from mirage.sources.streams import CHUNK, ByteStream

SPACE = b" \t\r\n"
QUOTE, OPEN, CLOSE, COMMA, BRACE, LEFT = b'"[],}{'
PARTNER = {BRACE: b"{", CLOSE: b"["}
KEY = re.compile(rb"[\s,]*+(" + STRING + rb")\s*+:", re.DOTALL)
# An entry that is nested no deeper than usual: found in one step.
PLAIN = re.compile(
    rb"\s*+,?\s*+" + STRING + rb"\s*+:\s*+(?:\{" + within(2) + rb"\}|\[" + within(2) + rb"\])"
    rb"(?=\s*+[,}])",
    re.DOTALL,
)


class Entries(Bytewise):
    """The entries of one file. Spans are in bytes; a row's bytes begin with the comma before it.

    `known` are keys of which an entry has one: where there is no `data`, they tell entries at the
    top level from other values. Without any, the top level holds the entries.
    """

    blank = SPACE + b","

    def __init__(self, path: Path, known: frozenset[bytes] = frozenset()) -> None:
        super().__init__()
        self.path = path
        self.known = known

    @cached_property
    def start(self) -> tuple[int, bool]:
        """Where the entries begin, and whether that is within `data`.

        Raises ValueError where there are none.
        """
        with self.streams.at(self.path) as stream:
            return beginning(stream, self.known)

    def check(self, path: Place) -> None:
        _ = self.start

    def split(self, stream: ByteStream) -> Iterator[Split]:
        begin, nested = self.start
        while stream.at < begin:
            yield stream.read(min(CHUNK, begin - stream.at)), 0
        rest, size = b"", CHUNK
        while data := stream.read(size):
            rest, at = rest + data, 0
            while stop := end_of_entry(rest, at):
                if stop < 0:
                    if not self._ends_well(rest[at:], stream, 1 + nested):
                        yield b"", 1
                    return
                yield rest[at:stop], 1
                at = stop
            size = CHUNK if at else 2 * size  # or a huge entry would be looked at again and again
            rest = rest[at:]
        if rest.strip(self.blank):
            yield rest, 1
        if not rest.strip(self.blank) or complete(rest):
            yield b"", 1

    def parse(self, raw: bytes, head: Any) -> Mapping[str, Any]:
        """The entries in the bytes, by key."""
        if not raw:
            raise ValueError("an entry is missing, or the object does not end")
        found: dict[str, Any] = orjson.loads(b"{" + raw + b"}")
        return found

    def ends(self, last: bytes, following: bytes) -> bool:
        return following in (b"", b",", b"}") or (last in (b"}", b"]", b"{") and following in SPACE)

    def _ends_well(self, rest: bytes, stream: ByteStream, depth: int) -> bool:
        """Whether what stands behind the entries closes `depth` objects, and nothing follows."""
        while True:
            at = 0
            for token in TOKEN.finditer(rest):
                at, char = token.end(), rest[token.start()]
                if not depth:
                    return False
                if char == QUOTE and at - token.start() == 1:
                    at = token.start()
                    break
                depth += (char in (OPEN, LEFT)) - (char in (CLOSE, BRACE))
            else:
                at = len(rest.rstrip(SPACE))
            if not depth and rest[at:].strip(SPACE):
                return False
            data = stream.read(CHUNK)
            if not data:
                return depth == 0
            rest = rest[at:] + data


def key_of(raw: bytes) -> str | None:
    """The key of an entry, None where it has none."""
    found = KEY.match(raw)
    if found is None:
        return None
    try:
        key = found[1]
        return str(orjson.loads(key)) if b"\\" in key else key[1:-1].decode()
    except ValueError:
        return None


def value_of(raw: bytes) -> Any:
    """The value of an entry, None where it has none that can be read."""
    try:
        (value,) = orjson.loads(b"{" + raw.strip(Entries.blank) + b"}").values()
    except ValueError:
        return None
    return value


def end_of_entry(text: bytes, at: int) -> int:
    """Where the entry that begins at `at` ends; 0 where that is not to be seen yet, and -1 where
    the object ends instead.
    """
    if found := PLAIN.match(text, at):
        return found.end()
    open_, leading = b"", True
    for token in TOKEN.finditer(text, at):
        start, char = token.start(), text[token.start()]
        if char == QUOTE:
            if token.end() - start == 1:
                return 0
        elif char in (OPEN, LEFT):
            open_ += token[0]
        elif char == COMMA:
            if not open_ and not (leading and not text[at:start].strip(SPACE)):
                return start
        elif open_:  # a bracket within that was forgotten ends here, too
            open_ = open_.rpartition(PARTNER[char])[0] if PARTNER[char] in open_ else open_
        elif char == BRACE:
            return start if text[at:start].strip(SPACE + b",") else -1
        leading = False
    return 0


def complete(raw: bytes) -> bool:
    """Whether an entry is whole, although nothing follows it."""
    return end_of_entry(raw.rstrip(SPACE) + b"}", 0) == len(raw.rstrip(SPACE))


def beginning(stream: ByteStream, known: frozenset[bytes]) -> tuple[int, bool]:
    """Where entries begin; see `Entries.start`. Nothing that stands before is held."""
    top, key, path, before = -1, b"", b"", b""
    for at, token in tokens(stream):
        if token in (b"{", b"["):
            if not path and token == b"[":
                break
            path += token
            if path == b"{":
                if not known:
                    return at + 1, False
            elif path == b"{{" and key == b'"data"':
                return at + 1, True
        elif token in (b"}", b"]"):
            path = path[:-1]
            if not path:
                if top < 0 and before == b"{":
                    return at, False
                raise ValueError("there is no object `data`, and there are no entries")
        elif token == b",":
            pass
        elif path == b"{" and before in (b"{", b","):
            key = token
            if top < 0 and key != b'"meta"':
                top = at
        elif path == b"{{" and before in (b"{", b",") and token in known:
            return top, False
        elif not path:
            break
        before = token
    raise ValueError("this is no JSON object, or it ends before its first entry")


def tokens(stream: ByteStream) -> Iterator[tuple[int, bytes]]:
    """Strings and structural characters, each with its offset."""
    rest, offset = stream.read(CHUNK), 0
    if rest.removeprefix(BOM).strip(SPACE)[:1] != b"{":
        raise ValueError("the top level is no object")
    while rest:
        at = 0
        for token in TOKEN.finditer(rest):
            at = token.end()
            if token[0] == b'"':
                at = token.start()
                break
            yield offset + token.start(), token[0]
        else:
            at = len(rest)
        data = stream.read(max(CHUNK, len(rest) - at))
        if not data:
            return
        rest, offset = rest[at:] + data, offset + at
