"""A JSON object of many entries, any of which can be read on its own, by number or by key.

One pass over the file leaves about 30 bytes per entry in memory, in arrays that go to another
process as they are; the entries stay in the file.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from xxhash import xxh3_64_intdigest

from mirage.errors import SourceError
from mirage.sources.json_object import Entries as Scan
from mirage.sources.json_object import key_of


class Entries:
    """The entries of an object, or of the one at its key `data` where `known` names keys of which
    an entry has one. Of equal keys the last counts, as in `json`.

    `torn` says where the object breaks off; entries before that are here. Raises ValueError where
    the file is no such object.
    """

    def __init__(self, path: Path, known: frozenset[bytes] = frozenset()) -> None:
        self.path = path
        self.torn = ""
        self.places = array("Q")
        self.sizes = array("I")
        hashes = array("Q")
        scan = Scan(path, known)
        at = 0
        with scan.streams.at(path) as stream:
            if stream.raw is not None:
                raise ValueError(f"{path} is compressed: its entries cannot be read one by one")
            for raw, count in scan.split(stream):
                key = key_of(raw) if count else None
                if key is not None:
                    self.places.append(at)
                    self.sizes.append(len(raw))
                    hashes.append(hash64(key))
                elif count:
                    self.torn = self.torn or f"at byte {at}"
                at += len(raw)
        if not self.torn and at == path.stat().st_size:  # the last entry runs into the end
            self.torn = f"at byte {self.places.pop()}"
            self.sizes.pop()
            hashes.pop()
        self.hashes, self.order = ranked(hashes)
        self._handle: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> tuple[str, Any]:
        """The key and the value of an entry. Raises SourceError ("malformed")."""
        raw = os.pread(self._open(), self.sizes[number], self.places[number])
        try:
            ((key, value),) = orjson.loads(b"{" + raw.lstrip(b" \t\r\n,") + b"}").items()
        except ValueError as exc:
            raise SourceError("malformed", f"entry {number} is no JSON: {exc}") from exc
        return key, value

    def key(self, number: int) -> str:
        """The key of an entry, whatever its value is."""
        return key_of(os.pread(self._open(), self.sizes[number], self.places[number])) or ""

    def find(self, key: str) -> int | None:
        """The number of the entry with this key."""
        return max((at for at in self.hashed(hash64(key)) if self.key(at) == key), default=None)

    def hashed(self, wanted: int) -> Iterator[int]:
        """The numbers of the entries whose keys have this hash."""
        at = bisect_left(self.hashes, wanted)
        while at < len(self.hashes) and self.hashes[at] == wanted:
            yield self.order[at]
            at += 1

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle[1])
            self._handle = None

    def _open(self) -> int:
        """The file, opened by this very process."""
        if self._handle is None or self._handle[0] != os.getpid():
            self._handle = os.getpid(), os.open(self.path, os.O_RDONLY)
        return self._handle[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()


def hash64(key: str) -> int:
    return xxh3_64_intdigest(key.encode("utf-8", "surrogatepass"))


def ranked(hashes: array[int]) -> tuple[array[int], array[int]]:
    """The hashes in order, and where each stood. Arrow sorts without an object per number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not hashes:
        return array("Q"), array("Q")
    plain = pa.Array.from_buffers(pa.uint64(), len(hashes), [None, pa.py_buffer(hashes)])
    order = pc.sort_indices(plain)
    return array_of(plain.take(order)), array_of(order)


def array_of(numbers: Any) -> array[int]:
    """An array of Arrow without nulls, as Python's own."""
    made = array("Q")
    start = numbers.offset * made.itemsize
    made.frombytes(numbers.buffers()[1][start : start + len(numbers) * made.itemsize])
    return made
