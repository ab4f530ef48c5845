"""The ids that `source.id` gives to rows, and the index that finds repeated ones.

Blocks are read on their own, in any order, perhaps on other machines, so that a reader cannot know
by itself that an id has been seen before. The survey, which passes over the source in order, leaves
an index behind: for each id, where it stands first.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
from xxhash import xxh3_64_intdigest

from mirage.errors import RunError, SourceError
from mirage.select import MISSING, compile_key, fields_of

TABLE = "CREATE TABLE IF NOT EXISTS ids (id INTEGER PRIMARY KEY, spot INTEGER) WITHOUT ROWID"
WAIT = 60.0


def hash64(text: str) -> int:
    """A signed 64-bit hash, as SQLite's integers are."""
    return xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) - (1 << 63)


class Identities:
    """An SQLite file with two 64-bit hashes per row: of its id, and of where it stands.

    It costs about 30 bytes of disk per row, 16 bytes of memory per row that is added at once, a
    second reading of the rows during the survey, and some microseconds for a look-up per row read.
    Two different ids whose hashes are equal count as one: the odds are 3 in a million for 10
    million rows.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        self.select = compile_key(key)
        self.fields = fields_of([key])

    def label(self, values: Mapping[str, Any]) -> str:
        """The id as text: a string as it is, anything else as JSON. Raises RecordError."""
        value = self.select(values)
        if value is MISSING or value is None:
            state = "missing" if value is MISSING else "null"
            raise SourceError("id", f"the id '{self.key}' is {state}")
        if isinstance(value, str):
            return value
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
        except TypeError as exc:
            raise SourceError("id", f"the id '{self.key}' is no JSON value: {exc}") from exc

    def clear(self) -> None:
        with self._open() as database, database:
            database.execute("DELETE FROM ids")

    def empty(self) -> bool:
        if not self.path.exists():
            return True
        with self._open() as database:
            return database.execute("SELECT 1 FROM ids LIMIT 1").fetchone() is None

    def add(self, labels: Iterable[tuple[str, str]]) -> None:
        """Note (id, spot) pairs, all or none; an id that is there already keeps its spot.

        The file is locked when all of them are there: who reads rows may fall asleep over them.
        """
        hashes = array("q", (hash64(text) for pair in labels for text in pair))
        each = iter(hashes)
        with self._open() as database, database:
            pairs = zip(each, each, strict=True)
            database.executemany("INSERT OR IGNORE INTO ids VALUES (?, ?)", pairs)

    @contextmanager
    def owners(self) -> Iterator[Callable[[str], int]]:
        """A function from an id to the hash of the spot where it stands first."""
        with self._open() as database:

            def owner(label: str) -> int:
                query = "SELECT spot FROM ids WHERE id = ?"
                found = database.execute(query, (hash64(label),)).fetchone()
                if found is None:
                    raise RunError(f"{self.path} does not know the id {label}: delete that file")
                spot: int = found[0]
                return spot

            yield owner

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(self.path, timeout=WAIT, check_same_thread=False)
            with closing(connection) as database:
                database.execute(TABLE)
                yield database
        except sqlite3.Error as exc:
            raise RunError(f"{self.path}: {exc}") from exc
