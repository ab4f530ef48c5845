"""Which ids a MIMIC-IT dataset has, and where: a temporary database on disk, for any number."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import orjson

from mirage.sources.json_object import Entries, key_of, value_of
from mirage.store.index import scratch

TABLES = (
    "CREATE TABLE entries (id TEXT, place INTEGER)",
    "CREATE TABLE train (id TEXT, place INTEGER, related BLOB)",
)
ENDS = (
    "CREATE INDEX by_id ON entries (id, place)",
    "CREATE INDEX by_key ON train (id, place)",
)
TWICE = "SELECT 1 FROM {} GROUP BY id HAVING count(*) > 1 LIMIT 1"


class Index:
    """Made when the first id is looked up, in one pass over each file; threads may share it.

    A place is a byte offset: that of the bytes in which an entry stands. Of equal ids the first
    instruction counts, and the last entry of the training file, which is the one `json` keeps.
    """

    def __init__(self, entries: Entries, trained: Entries | None) -> None:
        self._lock = threading.Lock()
        self._latest: tuple[str, Any] = ("", None)
        self._base = scratch()
        for table in TABLES:
            self._base.execute(table)
        self._base.execute("BEGIN")
        if trained is not None:
            pairs = ((key, at, related_of(raw)) for key, at, raw in standing(trained))
            self._base.executemany("INSERT INTO train VALUES (?, ?, ?)", pairs)
        places = ((key, at) for key, at, _ in standing(entries))
        self._base.executemany("INSERT INTO entries VALUES (?, ?)", places)
        for end in ENDS:
            self._base.execute(end)
        self._base.execute("COMMIT")
        self._twice = {
            table: self._base.execute(TWICE.format(table)).fetchone() is not None
            for table in ("entries", "train")
        }

    def place(self, id: str) -> int | None:
        """Where an instruction stands; None where there is none."""
        found = self._ask("SELECT place FROM entries WHERE id = ? ORDER BY place LIMIT 1", id)
        return None if found is None else int(found[0])

    def first(self, id: str) -> int | None:
        """Where an instruction stands first, if any id stands more than once at all."""
        return self.place(id) if self._twice["entries"] else None

    def last(self, id: str) -> int | None:
        """Where a key of the training file stands last, if any stands more than once at all."""
        query = "SELECT place FROM train WHERE id = ? ORDER BY place DESC LIMIT 1"
        found = self._ask(query, id) if self._twice["train"] else None
        return None if found is None else int(found[0])

    def related(self, id: str) -> Any:
        """What the training file has for an id; None where it is not in it."""
        latest, related = self._latest
        if latest != id or not id:
            query = "SELECT related FROM train WHERE id = ? ORDER BY place DESC LIMIT 1"
            found = self._ask(query, id)
            related = None if found is None else orjson.loads(found[0])
            self._latest = (id, related)
        return related

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


def related_of(raw: bytes) -> bytes:
    """What an entry of the training file relates to, as JSON; nothing that can be read is an empty
    list.
    """
    value = value_of(raw)
    return orjson.dumps([] if value is None else value)
