"""An image store as it was first: one flat JSON object, key to base64."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import orjson

from mirage.errors import MediaError
from mirage.store.coding import MAX_TEXT
from mirage.store.entries import Entry, Finding, Tell
from mirage.store.scan import Torn, found, text_of


class JsonFile:
    """An entry's place is the byte at which its key begins, its size that up to the text's end."""

    name = "json"
    further: ClassVar[list[str]] = []
    sorted = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_RDONLY)

    def entries(self, tell: Tell) -> Iterator[Entry]:
        try:
            for each in found(self._handle):
                try:
                    key = text_of(each.key)
                except ValueError as exc:
                    tell(self._finding(each.at, "key", f"a key that is no text: {exc}"))
                    continue
                if each.string:
                    yield Entry(key, each.at, each.stop - each.at)
                else:
                    tell(self._finding(each.at, "type", f"{key!r:.120} has no text as its value"))
        except Torn as torn:
            what = f"{torn.message}; what stands before is read"
            tell(self._finding(torn.offset, "torn", what))

    def text(self, entry: Entry) -> bytes:
        if entry.size > MAX_TEXT:
            raise MediaError("bomb", f"a text of {entry.size:,} bytes; the limit is {MAX_TEXT:,}")
        raw = os.pread(self._handle, entry.size, entry.place)
        if len(raw) < entry.size:
            raise MediaError("truncated", "the file has become shorter")
        return raw[raw.rindex(b'"') + 1 :] if b"\\" not in raw else escaped(raw)

    def where(self, entry: Entry) -> str:
        return f"{self.path}: byte {entry.place}"

    def count(self) -> int | None:
        return None

    def find(self, key: str) -> Entry | None:
        raise NotImplementedError

    def faults(self) -> Iterator[Finding]:
        return iter(())

    def close(self) -> None:
        os.close(self._handle)

    def _finding(self, offset: int, rule: str, message: str) -> Finding:
        return Finding(f"{self.path}: byte {offset}", rule, message)


def escaped(raw: bytes) -> bytes:
    """The text of an entry in which something is escaped: `\\/`, mostly."""
    try:
        (text,) = orjson.loads(b"{" + raw + b'"}').values()
        return bytes(text.encode())
    except ValueError as exc:
        raise MediaError("base64", f"the text is no JSON string: {exc}") from None
