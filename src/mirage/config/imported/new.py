"""The configuration that is made: its data, and where each part of it stood in the old file."""

from __future__ import annotations

import os
import re
from pathlib import Path as FilePath
from typing import Any

from msgspec import Struct

from mirage.config.document import Document
from mirage.config.imported.writing import Comment
from mirage.names import Path

VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\}|\$|)", re.ASCII)
ELSEWHERE = re.compile(r"[~$/]|[A-Za-z][\w+.-]*://")
ABOVE = re.compile(r"( *)#+ ?(.*)")
BESIDE = re.compile(r"\s+#+ ?(.*)")


class New(Struct):
    """`root` is the folder that the old file's paths were relative to, `folder` the one in which
    the new file will stand.
    """

    root: FilePath
    folder: FilePath
    data: dict[str, Any] = {}
    origins: dict[Path, Path] = {}
    """Where a value of the new file, and what is below it, stood in the old one."""
    remarks: dict[Path, str] = {}
    """What is to be said above a value."""

    def path(self, text: str) -> str:
        """A path of the old file, for the new one's place."""
        if not text or ELSEWHERE.match(text):
            return environment(text)
        moved = os.path.relpath(self.root / text, self.folder)
        return environment(FilePath(moved).as_posix())

    def on_disk(self, text: str) -> FilePath:
        """Where a path of the old file leads now."""
        return self.root / FilePath(os.path.expandvars(text)).expanduser()

    def origin(self, path: Path) -> Path | None:
        """Where a path of the new file stood."""
        for length in range(len(path), 0, -1):
            if (old := self.origins.get(path[:length])) is not None:
                return (*old, *path[length:])
        return None


def environment(text: str) -> str:
    """The old file's `$NAME` and `${NAME}`, in the one way in which they are written here."""

    def name(match: re.Match[str]) -> str:
        found = match[1] or match[2]
        return f"${{{found}}}" if found else "$" * (2 * match[0].count("$")) + match[0].strip("$")

    return VARIABLE.sub(name, text)


class Kept:
    """The comments of the old file, for values that went from there into the new one."""

    def __init__(self, old: Document, new: New) -> None:
        self.old, self.new = old, new
        self.lines = old.text.split("\n")

    def __call__(self, path: Path) -> Comment:
        remark = (self.new.remarks[path],) if path in self.new.remarks else ()
        origin = self.new.origin(path)
        place = self.old.place(origin) if origin else None
        if origin is None or place is None:
            return Comment(remark)
        (line, column), end = place
        beside = BESIDE.fullmatch(self.lines[end[0] - 1][end[1] - 1 :]) if end else None
        above = self.above(line, column, item=isinstance(origin[-1], int))
        return Comment(remark + above, beside[1] if beside else "")

    def above(self, line: int, column: int, *, item: bool) -> tuple[str, ...]:
        """The comments directly above a line, as far to the right as its key: anything else may be
        part of a text. Those above an item are not those of the item's first key.
        """
        found: list[str] = []
        start = self.lines[line - 1]
        indentation = len(start) - len(start.lstrip(" "))
        if start[indentation : column - 1].strip(" ") != ("-" if item else ""):
            return ()
        for above in reversed(self.lines[: line - 1]):
            match = ABOVE.fullmatch(above)
            if match is None or len(match[1]) != indentation or not match[2].strip("=-# "):
                break
            found.append(match[2])
        return tuple(reversed(found))
