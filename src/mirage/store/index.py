"""Where each key of a store stands: a temporary database on disk, for any number of keys.

It has no name in the file system, and is gone with its connection. SQLite keeps a few megabytes of
it in memory; keys are sorted once, when all are in.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator

from mirage.store.entries import Entry

CACHE_KIB = 8 << 10
BATCH = 10_000


def scratch() -> sqlite3.Connection:
    """A database in a temporary file that nobody else sees."""
    made = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
        made.execute(f"PRAGMA {pragma}")
    return made


class Index:
    """All entries of a store by their keys; of equal keys the first one counts."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._lock = threading.Lock()
        self._base = scratch()
        self._base.execute("CREATE TABLE entries (key TEXT, place INTEGER, size INTEGER)")
        self._base.execute("BEGIN")
        self._base.executemany("INSERT INTO entries VALUES (?, ?, ?)", entries)
        self._base.execute("CREATE INDEX by_key ON entries (key, place, size)")
        self._base.execute("COMMIT")

    def find(self, key: str) -> Entry | None:
        ask = "SELECT key, place, size FROM entries WHERE key = ? ORDER BY place LIMIT 1"
        with self._lock:
            found = self._base.execute(ask, (key,)).fetchone()
        return None if found is None else Entry(*found)

    def __len__(self) -> int:
        with self._lock:
            return int(self._base.execute("SELECT count(*) FROM entries").fetchone()[0])

    def duplicates(self) -> Iterator[tuple[Entry, Entry]]:
        """Every entry whose key stood before, behind the first of that key."""
        ask = "SELECT key, place, size FROM entries ORDER BY key, place"
        first = None
        with self._lock:
            cursor = self._base.execute(ask)
        while found := self._some(cursor):
            for entry in map(Entry._make, found):
                if first is not None and entry.key == first.key:
                    yield first, entry
                else:
                    first = entry

    def _some(self, cursor: sqlite3.Cursor) -> list[tuple[str, int, int]]:
        with self._lock:
            return cursor.fetchmany(BATCH)

    def close(self) -> None:
        with self._lock:
            self._base.close()
