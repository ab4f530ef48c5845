"""JSON Lines: one object per line, plain or compressed. Blank lines are no rows.

A line is malformed where it is not one object: bad syntax, NaN, invalid UTF-8, a torn end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mirage.sources.bytewise import BOM, Bytewise, Split, parse_object
from mirage.sources.streams import ByteStream


class Lines(Bytewise):
    """Spans are in bytes, and every line is a row that is not blank."""

    def split(self, stream: ByteStream) -> Iterator[Split]:
        mark = BOM if stream.at == 0 else b""
        for line in stream:
            if mark:
                yield line, 1 if line.removeprefix(mark).strip() else 0
                mark = b""
            else:
                yield line, 0 if line.isspace() else 1

    def parse(self, raw: bytes, head: None) -> Mapping[str, Any]:
        return parse_object(raw)
