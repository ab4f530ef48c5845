"""What a store is made of: entries at places, and whatever breaks a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol


class Entry(NamedTuple):
    """A key and where its text stands: a byte offset and a length, or the number of a row."""

    key: str
    place: int
    size: int = 0


class Finding(NamedTuple):
    """A rule that the store breaks, and where. A note breaks none, and is worth knowing."""

    place: str
    rule: str
    message: str
    note: bool = False


Tell = Callable[[Finding], None]


class Holder(Protocol):
    """The file or files of a store. Reading is safe from several threads."""

    path: Path
    name: str
    """Which kind of store it is."""

    @property
    def further(self) -> list[str]:
        """Columns besides the key and the image."""
        ...

    def entries(self, tell: Tell) -> Iterator[Entry]:
        """All entries in the order of the store; what is none is told."""
        ...

    def text(self, entry: Entry) -> bytes:
        """The base64 of an entry. Raises MediaError."""
        ...

    def where(self, entry: Entry) -> str:
        """The place as a person reads it: file, and byte or row."""
        ...

    def count(self) -> int | None:
        """How many entries there are, where that is known without looking at them."""
        ...

    @property
    def sorted(self) -> bool:
        """Whether `find` can tell where a key would be."""
        ...

    def find(self, key: str) -> Entry | None:
        """The first entry of a key, in a sorted store."""
        ...

    def faults(self) -> Iterator[Finding]:
        """What is wrong with the files as such."""
        ...

    def close(self) -> None: ...
