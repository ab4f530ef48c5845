"""A JSON array of objects, read element by element: no more than one is held in memory.

The elements' boundaries are found on the bytes, by brackets and strings alone, so that a malformed
element is one record's fault and the next one is read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mirage.sources.bytewise import BOM, Bytewise, Split, parse_object
from mirage.sources.streams import CHUNK, ByteStream

# A whole string, a quote that opens one which is not all here yet, or a structural character.
# The quantifiers are possessive: a string of 100 MB is passed over once, without a stack.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{},]', re.DOTALL)
STRING = rb'"(?:[^"\\]++|\\.)*+"'
SPACE = b" \t\r\n"
QUOTE, OPEN, CLOSE, COMMA, BRACE = b'"[],}'


def within(depth: int) -> bytes:
    """A pattern for what stands within brackets, others of which are nested `depth` deep."""
    inner = within(depth - 1) if depth else b""
    deeper = rb"|\{" + inner + rb"\}|\[" + inner + rb"\]" if depth else b""
    return rb'(?:[^"{}\[\]]++|' + STRING + deeper + rb")*+"


# An object that is nested no deeper than usual, and the comma before it: found in one step.
USUAL = re.compile(rb"\s*+,?\s*+\{" + within(4) + rb"\}(?=\s*+[,\]])", re.DOTALL)


class JsonArray(Bytewise):
    """Spans are in bytes. A row's bytes begin with the bracket or comma before it."""

    blank = SPACE + b",["

    def check(self, path: Path) -> None:
        with self.streams.at(path) as stream:
            start = stream.read(CHUNK).removeprefix(BOM).lstrip(SPACE)
        if start.startswith(b"{"):
            raise ValueError(
                "the top level is an object, not an array of objects; where every line is an "
                "object, set `format: jsonl`"
            )
        if start and not start.startswith(b"["):
            raise ValueError("this is not a JSON array")

    def split(self, stream: ByteStream) -> Iterator[Split]:
        scan = Scan(depth=1 if stream.at else 0)
        size = CHUNK
        while data := stream.read(size):
            found = list(scan.feed(data))
            yield from ((raw, 1) for raw in found)
            if scan.closed:
                yield from self._after(scan.rest, stream)
                return
            size = CHUNK if found else 2 * size  # or a huge element would be copied again and again
        whole = scan.depth == 1 and scan.at == len(scan.rest)
        if scan.rest.strip(self.blank):
            yield scan.rest, 1
            if whole:
                yield b"", 1
        elif scan.depth:
            yield scan.rest, 1

    def parse(self, raw: bytes, head: None) -> Mapping[str, Any]:
        if not raw:
            raise ValueError("an element is missing, or the array does not end")
        return parse_object(raw)

    def ends(self, last: bytes, following: bytes) -> bool:
        return following in (b"", b",", b"]") or (last == b"}" and following in SPACE)

    def _after(self, rest: bytes, stream: ByteStream) -> Iterator[Split]:
        """Something else than white space behind the array is one malformed row."""
        while not rest.partition(b"]")[2].strip(SPACE):
            data = stream.read(CHUNK)
            if not data:
                return
            rest += data
        yield rest, 1


class Scan:
    """Where elements end. `rest` is what is not yet given out, and `at` how far it was looked at.

    `depth` counts open brackets, the array's own included.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.resumed = depth > 0
        self.closed = False
        self.rest = b""
        self.at = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The elements that are complete with these further bytes."""
        text = self.rest + data
        start, at = 0, self.at
        while self.depth and (found := USUAL.match(text, start)):
            yield text[start : found.end()]
            start = at = found.end()
            self.depth, self.resumed = 1, True  # the next comma follows no element that is missing
        for token in TOKEN.finditer(text, at):
            char = text[token.start()]
            at = token.end()
            if char == QUOTE:
                if at - token.start() == 1:
                    at = token.start()
                    break
            elif char == COMMA:
                if self.depth == 1:
                    raw = text[start : token.start()].rstrip(SPACE)
                    if raw or not self.resumed:
                        yield raw
                        start += len(raw)
                    self.resumed = False
            elif char == CLOSE and self.depth == 1:
                raw = text[start : token.start()].rstrip(SPACE)
                if raw.strip(JsonArray.blank):
                    yield raw
                    start += len(raw)
                self.closed = True
                break
            elif char in (CLOSE, BRACE):
                self.depth = max(1, self.depth - 1)
            else:
                self.depth += 1
        else:
            at = len(text)
        self.rest, self.at = text[start:], at - start
