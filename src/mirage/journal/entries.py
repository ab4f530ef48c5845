"""What a journal says of a settled record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

WRITTEN, PARTIAL, DROPPED, FAILED = "written", "partial", "dropped", "failed"
RECORD = -1
KEY_BYTES = 16
PYTHON = "python"
"""The `finish` of what a function of the user's returned: kept like a completion, and no call."""


class Entry(Struct, frozen=True):
    """What became of a record, or of one child of it (`child` from 0; RECORD for itself).

    `trail` holds the keys of the answers that were accepted, 16 bytes each, in the order of the
    plan's steps; `detail` says the rest: how many `children` a record has, its image `files`, how
    often steps were asked again (`asks`), the `reason` of a drop, the fields of a `failure`.
    """

    position: int
    child: int
    kind: str
    digest: bytes
    trail: bytes = b""
    detail: Mapping[str, Any] = {}

    def with_trail(self, trail: bytes) -> Entry:
        """The same entry with its answers. (`replace` costs five times as much.)"""
        return Entry(self.position, self.child, self.kind, self.digest, trail, self.detail)

    @property
    def asks(self) -> Mapping[str, int]:
        asks: Mapping[str, int] = self.detail.get("asks", {})
        return asks
