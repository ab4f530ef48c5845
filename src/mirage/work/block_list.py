"""`blocks.jsonl`: the blocks of a run, a line each, in order.

Only the run's owner appends; any process may read on where it left off. A line that was cut off is
not there: its block is found again.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import orjson

from mirage.errors import RunError
from mirage.record import Span
from mirage.sources.blocks import Block


class BlockList:
    """A reader, and for the owner the writer, of the list at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0
        self._count = 0

    def more(self) -> list[Block]:
        """The blocks that were stored since the last call. Raises RunError where one is damaged."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return []
        data = data[: data.rfind(b"\n") + 1]
        found = [self._block(line) for line in data.splitlines()]
        self._at += len(data)
        return found

    def _block(self, line: bytes) -> Block:
        try:
            stored = orjson.loads(line)
            block = Block(stored["number"], tuple(Span(**span) for span in stored["spans"]))
        except (ValueError, TypeError, LookupError) as exc:
            raise RunError(f"{self.path} is damaged: {exc}") from exc
        if block.number != self._count:
            raise RunError(f"{self.path} is damaged: block {block.number} follows {self._count}")
        self._count += 1
        return block

    def append(self, block: Block) -> None:
        """Store a block, on disk before this returns."""
        self.more()
        line = orjson.dumps(asdict(block), option=orjson.OPT_APPEND_NEWLINE)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.truncate(self._at)  # without what a killed owner left of a line
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._at += len(line)
        self._count += 1
