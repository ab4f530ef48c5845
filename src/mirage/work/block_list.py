"""`blocks.jsonl`: the blocks of a run, a line each, in order.

Only the run's owner appends; any process may read on where it left off. A line that was cut off is
not there: its block is found again. An owner who has slept through its lease may append beside its
successor: both have found the same blocks, and each counts once.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.json import decode, encode
from xxhash import xxh3_64_digest

from mirage.errors import RunError
from mirage.sources.blocks import Block


class BlockList:
    """A reader, and for the owner the writer, of the list at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0
        self._lines: list[bytes] = []  # hashes

    def more(self) -> list[Block]:
        """The blocks that were stored since the last call. Raises RunError where one is damaged.

        What cannot be read is an owner's end, and skipped where another has gone on behind it.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:
            return []
        found, at, known = [], 0, 0
        while end := data.find(b"\n", at) + 1:
            line, at = data[at:end], end
            if (block := read(line)) is None:
                continue
            if self._is_new(block, line):
                found.append(block)
            known = end
        self._at += known
        return found

    def _is_new(self, block: Block, line: bytes) -> bool:
        """Whether it is the next one, and not one of those before. Raises RunError for another."""
        known, hashed = len(self._lines), xxh3_64_digest(line)
        if block.number < known and self._lines[block.number] == hashed:
            return False
        if block.number != known:
            raise RunError(f"{self.path} is damaged: block {block.number} follows {known}")
        self._lines.append(hashed)
        return True

    def append(self, block: Block) -> None:
        """Store a block, on disk before this returns."""
        self.more()
        line = encode(block) + b"\n"
        if block.number < len(self._lines) and not self._is_new(block, line):
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            cut_off = file.tell() > self._at  # a killed owner left part of a line
            file.write(b"\n" * cut_off + line)
            file.flush()
            os.fsync(file.fileno())


def read(line: bytes) -> Block | None:
    """The block of a line; None where it is not whole."""
    try:
        return decode(line, type=Block)
    except ValueError:
        return None
