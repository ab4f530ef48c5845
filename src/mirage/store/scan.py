"""The entries of one flat JSON object, found on the bytes: where each key and each text stands.

A file of any size goes through a window of a few megabytes. The ends of strings are looked for with
`bytes.find`, which is as fast as memory; no text is copied, and none is held.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import orjson

CHUNK = 1 << 22
LONGEST_KEY = 1 << 16
NOT_SPACE = re.compile(rb"[^ \t\r\n]")
PLAIN_END = re.compile(rb"[,}\]\s]")
STRUCTURE = re.compile(rb'["\[\]{}]')
OPENING = frozenset(b"[{")
QUOTE, BACKSLASH, COLON, COMMA, OPEN, CLOSE = b'"\\:,{}'
PLAIN = re.compile(rb"[ !#-\[\]-~]*")
BOM = b"\xef\xbb\xbf"


class Torn(Exception):  # noqa: N818 - it says where the object stops to be one
    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset
        self.message = message


class Found(NamedTuple):
    """One key, between its quotes, and its value: a string (between its quotes) or another."""

    key: bytes
    at: int
    start: int
    stop: int
    string: bool


def found(handle: int) -> Iterator[Found]:
    """The entries of the object in a file. Raises Torn where it is none, or stops to be one."""
    window = Window(handle)
    if window.data.startswith(BOM):
        window.at = len(BOM)
    window.take(OPEN, "'{' is missing: the file is no JSON object")
    if window.look() == CLOSE:
        window.at += 1
    else:
        while True:
            yield one(window)
            at, char = window.here, window.look()
            if char == CLOSE:
                window.at += 1
                break
            if char != COMMA:
                ended = "the file ends within the object" if char < 0 else "',' is missing"
                raise Torn(window.here if char >= 0 else at, ended)
            window.at += 1
    if window.look() >= 0:
        raise Torn(window.here, "something stands behind the object")


def one(window: Window) -> Found:
    if window.look() != QUOTE:
        raise Torn(window.here, "a key is missing")
    at = window.here
    start, stop = window.string()
    if stop - start > LONGEST_KEY:
        raise Torn(at, f"a key of {stop - start:,} bytes")
    key = window.between(start, stop)
    window.take(COLON, "':' is missing")
    char = window.look()
    if char == QUOTE:
        return Found(key, at, *window.string(), True)
    return Found(key, at, *window.other(), False)


class Window:
    """A piece of the file: `data` begins at the offset `base`, and `at` is how far it was read."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.base = 0
        self.at = 0
        self.data = os.pread(handle, CHUNK, 0)

    @property
    def here(self) -> int:
        return self.base + self.at

    def more(self) -> bool:
        """Go on to the next piece."""
        self.base += len(self.data)
        self.at = 0
        self.data = os.pread(self.handle, CHUNK, self.base)
        return bool(self.data)

    def look(self) -> int:
        """The next byte that is no white space; -1 at the end."""
        while True:
            match = NOT_SPACE.search(self.data, self.at)
            if match is not None:
                self.at = match.start()
                return self.data[self.at]
            if not self.more():
                return -1

    def take(self, char: int, else_: str) -> None:
        if self.look() != char:
            raise Torn(self.here, else_)
        self.at += 1

    def between(self, start: int, stop: int) -> bytes:
        if start >= self.base:
            return self.data[start - self.base : stop - self.base]
        return os.pread(self.handle, stop - start, start)

    def string(self) -> tuple[int, int]:
        """Go behind the string that opens here, and say what is between its quotes."""
        opened = self.here
        self.at += 1
        while True:
            end = self.data.find(b'"', self.at)
            stop = end if end >= 0 else len(self.data)
            escaping = self._escaping(stop)
            if end >= 0:
                self.at = end + 1
                if not escaping:
                    return opened + 1, self.base + end
            elif self.more():
                self.at = int(escaping)
            else:
                raise Torn(opened, "the file ends within the string that begins here")

    def _escaping(self, stop: int) -> bool:
        """Whether an odd number of backslashes stands before `stop`."""
        count = 0
        while stop - count > self.at and self.data[stop - count - 1] == BACKSLASH:
            count += 1
        return count % 2 == 1

    def other(self) -> tuple[int, int]:
        """Go behind a value that is no string."""
        start, depth = self.here, 0
        pattern = STRUCTURE if self.look() in OPENING else PLAIN_END
        while True:
            match = pattern.search(self.data, self.at)
            if match is None:
                if not self.more():
                    raise Torn(start, "the file ends within the value that begins here")
                continue
            self.at = match.start()
            if pattern is PLAIN_END:
                if self.here == start:
                    raise Torn(start, "a value is missing")
                return start, self.here
            char = self.data[self.at]
            if char == QUOTE:
                self.string()
                continue
            self.at += 1
            depth += 1 if char in OPENING else -1
            if not depth:
                return start, self.here


def text_of(raw: bytes) -> str:
    """A string as it stands between its quotes. Raises ValueError."""
    if PLAIN.fullmatch(raw):
        return raw.decode()
    text: str = orjson.loads(b'"' + raw + b'"')
    return text
