"""Which ids a MIMIC-IT dataset has, and where: a temporary database on disk, for any number."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import orjson

from mirage.sources.json_object import Entries, key_of
from mirage.store.index import scratch

TABLES = (
    "CREATE TABLE entries (id TEXT, place INTEGER)",
    "CREATE TABLE train (id TEXT PRIMARY KEY, place INTEGER, related BLOB) WITHOUT ROWID",
)


class Index:
    """Made when the first id is looked up, in one pass over each file; threads may share it.

    A place is a byte offset: that of the bytes in which an entry stands. Of equal ids the first
    instruction counts, and the last entry of the training file, which is the one `json` keeps.
    """

    def __init__(self, entries: Entries, trained: Entries | None) -> None:
        self._lock = threading.Lock()
        self._base = scratch()
        for table in TABLES:
            self._base.execute(table)
        self._base.execute("BEGIN")
        if trained is not None:
            pairs = ((key, at, value_of(raw)) for key, at, raw in standing(trained))
            self._base.executemany("INSERT OR REPLACE INTO train VALUES (?, ?, ?)", pairs)
        places = ((key, at) for key, at, _ in standing(entries))
        self._base.executemany("INSERT INTO entries VALUES (?, ?)", places)
        self._base.execute("CREATE INDEX by_id ON entries (id, place)")
        self._base.execute("COMMIT")

    def place(self, id: str) -> int | None:
        """Where an instruction stands; None where there is none."""
        found = self._ask("SELECT min(place) FROM entries WHERE id = ?", id)
        return None if found is None else found[0]

    def last(self, id: str) -> int | None:
        """Where an id stands in the training file."""
        found = self._ask("SELECT place FROM train WHERE id = ?", id)
        return None if found is None else found[0]

    def related(self, id: str) -> Any:
        """What the training file has for an id; None where it is not in it."""
        found = self._ask("SELECT related FROM train WHERE id = ?", id)
        return None if found is None else orjson.loads(found[0])

    def _ask(self, query: str, id: str) -> Any:
        with self._lock:
            return self._base.execute(query, (id,)).fetchone()


def standing(entries: Entries) -> Iterator[tuple[str, int, bytes]]:
    """The entries of a file that have a key, each with the place of its bytes."""
    with entries.streams.at(entries.path) as stream:
        at = 0
        for raw, rows in entries.split(stream):
            if rows and (key := key_of(raw)) is not None:
                yield key, at, raw
            at += len(raw)


def value_of(raw: bytes) -> bytes:
    """What stands behind a key, as JSON; nothing that can be read is an empty list."""
    try:
        (value,) = orjson.loads(b"{" + raw.strip(b" \t\r\n,") + b"}").values()
    except ValueError:
        return b"[]"
    return orjson.dumps([] if value is None else value)
