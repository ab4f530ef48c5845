"""A configuration of the old project while it is taken apart: nothing in it is passed over.

A `Section` gives out its keys one by one; what is left in the end is told, each key with its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from mirage.config.document import Document, written
from mirage.errors import ConfigError, Mistake
from mirage.names import Path

TRUE = frozenset({"true", "yes", "on", "y"})
"""YAML 1.1, in which the old files were read, had more words for it."""


class Told(Struct, frozen=True):
    """Something to know about a key of the old file. `lost` means that what it did is not done any
    more; otherwise it is done in another way, or did nothing.
    """

    path: str
    line: int
    message: str
    lost: bool


class Old(Struct):
    """The old file, and what there is to tell of it."""

    document: Document
    file: str
    told: list[Told] = []

    def tell(self, path: Path, message: str, lost: bool = False) -> None:
        place = self.document.place(path)
        while place is None and path[:-1]:  # a key that is not written stands in what is
            path = path[:-1]
            place = self.document.place(path)
        line = place[0][0] if place else 0
        self.told.append(Told(written(path), line, message, lost))

    def wrong(self, path: Path, message: str) -> ConfigError:
        line, column = self.document.position(path)
        return ConfigError([Mistake(written(path), message, self.file, line, column)])

    def section(self, *path: str | int) -> Section:
        """The mapping at a path; an empty one where there is none."""
        value: Any = self.document.data
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else value[int(step)]
            if value is None:
                return Section(self, path, {})
        if not isinstance(value, dict):
            raise self.wrong(path, "must be a mapping of keys")
        return Section(self, path, dict(value))


class Section(Struct):
    """The keys of one mapping that were not taken yet."""

    old: Old
    path: Path
    left: dict[str, Any]

    def take(self, key: str, default: Any = None) -> Any:
        value = self.left.pop(key, default)
        return default if value is None else value

    def text(self, key: str) -> str:
        value = self.take(key, "")
        if not isinstance(value, str | int | float):
            raise self.old.wrong((*self.path, key), "must be text")
        return str(value).strip()

    def flag(self, key: str) -> bool:
        value = self.take(key, False)
        return value.lower() in TRUE if isinstance(value, str) else bool(value)

    def below(self, key: str) -> Section:
        """The mapping at a key, which is taken."""
        self.left.pop(key, None)
        return self.old.section(*self.path, key)

    def each(self, key: str) -> list[tuple[Path, Any]]:
        """The entries of a list, which is taken."""
        value = self.take(key, [])
        if not isinstance(value, list):
            raise self.old.wrong((*self.path, key), "must be a list")
        return [((*self.path, key, index), entry) for index, entry in enumerate(value)]

    def tell(self, key: str, message: str, lost: bool = False) -> None:
        self.old.tell((*self.path, key), message, lost)

    def settle(self, known: Mapping[str, str]) -> None:
        """Tell what is left. `known` says why keys are not needed, or, behind "!", what is lost."""
        for key in self.left:
            message = known.get(key, "!nothing here corresponds to it")
            self.tell(key, message.removeprefix("!"), message.startswith("!"))
        self.left.clear()
