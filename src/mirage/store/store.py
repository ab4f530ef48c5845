"""An image store, open for reading: bytes by key, whatever the store is kept in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from mirage.errors import MediaError
from mirage.record import Image
from mirage.store.coding import unpacked
from mirage.store.entries import Entry, Finding, Holder, Tell
from mirage.store.index import Index


class ImageStore:
    """Images by key. Opening reads next to nothing; the first look-up in a store whose keys are not
    sorted reads all keys once, into an index on disk. Threads may share it.

    Of several entries with one key the first counts; `duplicates` names the others. Of a torn store
    what stands before the tear is here; `torn` says where that is, once the keys were read.
    """

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._lock = threading.Lock()
        self._index: Index | None = None
        self.torn: Finding | None = None

    @property
    def path(self) -> Path:
        return self._holder.path

    @property
    def kind(self) -> str:
        """What the store is kept in: "json" or "parquet"."""
        return self._holder.name

    @property
    def further(self) -> list[str]:
        """Columns besides the key and the image."""
        return self._holder.further

    def image(self, key: str) -> Image:
        """The image of a key, which is not looked up before it is read: then a missing key is a
        MediaError ("missing").
        """

        def member() -> bytes:
            try:
                return self.read(key)
            except KeyError:
                raise MediaError("missing", f"{self.path} has no image {key!r:.120}") from None

        return Image(key, path=str(self.path), member=member)

    def read(self, key: str) -> bytes:
        """The bytes of an image, as they were encoded. Raises KeyError, and MediaError: "base64"
        where they cannot be decoded, "empty", "bomb" (too long), "truncated", "broken".
        """
        entry = self.find(key)
        if entry is None:
            raise KeyError(key)
        return unpacked(self._holder.text(entry))[0]

    def find(self, key: str) -> Entry | None:
        """The entry of a key; None where there is none."""
        return self._holder.find(key) if self._holder.sorted else self._indexed().find(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.find(key) is not None

    def __len__(self) -> int:
        """How many entries there are, duplicates included."""
        count = self._holder.count()
        return len(self._indexed()) if count is None else count

    def keys(self) -> Iterator[str]:
        """All keys in the order of the store, streamed."""
        return (entry.key for entry in self.entries())

    def entries(self, tell: Tell = lambda finding: None) -> Iterator[Entry]:
        """All entries in the order of the store, streamed; what is no entry is told."""

        def heard(finding: Finding) -> None:
            if finding.rule == "torn":
                self.torn = finding
            tell(finding)

        return self._holder.entries(heard)

    def duplicates(self) -> Iterator[Finding]:
        """Every entry whose key stands before, with both places."""
        for first, again in self._indexed().duplicates():
            message = f"{again.key!r:.120} stands at {self.where(first)} as well"
            yield Finding(self.where(again), "duplicate-key", message)

    def faults(self) -> Iterator[Finding]:
        """What is wrong with the files as such: not with an entry."""
        return self._holder.faults()

    def text(self, entry: Entry) -> bytes:
        """The base64 of an entry, as it stands. Raises MediaError."""
        return self._holder.text(entry)

    def where(self, entry: Entry) -> str:
        return self._holder.where(entry)

    def close(self) -> None:
        with self._lock:
            if self._index is not None:
                self._index.close()
        self._holder.close()

    def __enter__(self) -> ImageStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _indexed(self) -> Index:
        with self._lock:
            if self._index is None:
                self._index = Index(self.entries())
            return self._index
