"""Parts of a MIMIC-IT dataset, and what they claim together: ids, image keys, related ids.

A part is one SQLite file with the samples of a block and the bytes of their images. Whether an id
stands twice, or a key stands for two images, is to be seen over all parts only: `Claims` looks, in
a temporary database on disk, so that memory is bounded for any number of samples.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson

from mirage.errors import RunError, SinkError
from mirage.store.index import scratch

TABLES = (
    "CREATE TABLE about (rows INTEGER)",
    "CREATE TABLE samples (row INTEGER PRIMARY KEY, id TEXT, turns INTEGER, related TEXT, "
    "images TEXT, body BLOB)",
    "CREATE TABLE images (key TEXT, digest BLOB, row INTEGER, origin TEXT, data BLOB)",
    "CREATE UNIQUE INDEX by_key ON images (key, digest)",
)
CLAIMS = (
    "CREATE TABLE ids (id TEXT, row INTEGER)",
    "CREATE TABLE keys (key TEXT, digest BLOB, row INTEGER, origin TEXT)",
    "CREATE TABLE related (id TEXT, row INTEGER)",
    "CREATE TABLE refused (row INTEGER PRIMARY KEY, kind TEXT, message TEXT)",
)
TWICE = """
    INSERT OR IGNORE INTO refused
    SELECT later.row, 'duplicate-id', 'an earlier row has the id ' || later.id || ' as well'
    FROM (SELECT id, min(row) AS row FROM ids GROUP BY id HAVING count(*) > 1) AS first
    CROSS JOIN ids AS later ON later.id = first.id AND later.row > first.row
"""
UNLIKE = """
    SELECT later.key, later.digest, first.origin, later.origin
    FROM (SELECT key, digest, origin, min(row) AS row FROM keys GROUP BY key) AS first
    CROSS JOIN keys AS later ON later.key = first.key AND later.digest != first.digest
"""
HELD = "SELECT 1 FROM ids WHERE id = ? AND row NOT IN (SELECT row FROM refused)"
DANGLING = f"""
    SELECT row, id FROM related WHERE NOT EXISTS ({HELD.replace("?", "related.id")})
    AND row NOT IN (SELECT row FROM refused) ORDER BY row
"""


@contextmanager
def opened(part: Path) -> Iterator[sqlite3.Connection]:
    """A part: its rows are in `samples`, and the number of those that it was made of in `about`."""
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as base:
            base.execute("PRAGMA journal_mode = OFF")
            base.execute("PRAGMA synchronous = OFF")
            yield base
    except sqlite3.Error as exc:
        raise RunError(f"{part}: {exc}") from exc


def entry_ids(name: str, turns: int) -> list[str]:
    """The ids of the entries of a sample: of several, each has its number."""
    return [name] if turns == 1 else [f"{name}_{number}" for number in range(turns)]


class Claims:
    """What all parts of a dataset claim. Rows are numbered over all parts, refused ones included.

    `unfit` are the parts with a row that must be refused or changed.
    """

    def __init__(self, parts: Sequence[Path], name: str, *, strict: bool) -> None:
        self.name = name
        self.first: dict[Path, int] = {}
        self._base = scratch()
        for table in CLAIMS:
            self._base.execute(table)
        self._base.execute("BEGIN")
        self._gather(parts)
        self._base.execute("CREATE INDEX by_id ON ids (id, row)")
        self._base.execute("CREATE INDEX by_key ON keys (key, row)")
        self._base.execute(TWICE)
        self._clashes(parts)
        while strict and self._left_alone():
            pass
        self._base.execute("COMMIT")
        self.unfit = set(self._unfit(parts))

    def name_of(self, row: int) -> str:
        """The id of a sample that has none."""
        return f"{self.name}_INS_{row:06}"

    def refusal(self, row: int) -> SinkError | None:
        """Why a row cannot be in the dataset."""
        query = "SELECT kind, message FROM refused WHERE row = ?"
        found = self._base.execute(query, (row,)).fetchone()
        return None if found is None else SinkError(*found)

    def holds(self, id: str) -> bool:
        """Whether an instruction of this id will be in the dataset."""
        return self._base.execute(HELD, (id,)).fetchone() is not None

    def _gather(self, parts: Sequence[Path]) -> None:
        row = 0
        for part in parts:
            self.first[part] = row
            with opened(part) as base:
                (rows,) = base.execute("SELECT rows FROM about").fetchone()
                samples = base.execute("SELECT row + ?, id, turns FROM samples", (row,))
                ids = (
                    (each, at)
                    for at, id, turns in samples
                    for each in entry_ids(id or self.name_of(at), turns)
                )
                self._base.executemany("INSERT INTO ids VALUES (?, ?)", ids)
                query = "SELECT row + ?, related FROM samples WHERE related IS NOT NULL"
                related = (
                    (each, at)
                    for at, listed in base.execute(query, (row,))
                    for each in orjson.loads(listed)
                )
                self._base.executemany("INSERT INTO related VALUES (?, ?)", related)
                images = base.execute("SELECT key, digest, row + ?, origin FROM images", (row,))
                self._base.executemany("INSERT INTO keys VALUES (?, ?, ?, ?)", images)
            row += rows

    def _clashes(self, parts: Sequence[Path]) -> None:
        """Refuse the rows that have another image under a key that an earlier row has."""
        unlike: dict[tuple[str, str], str] = {}
        for key, digest, first, later in self._base.execute(UNLIKE):
            unlike[key, digest.hex()] = f"{key} is another image in {first} than in {later}"
        for part in parts if unlike else ():
            with opened(part) as base:
                for number, images in base.execute("SELECT row, images FROM samples"):
                    told = [unlike[k, d] for k, d in orjson.loads(images) if (k, d) in unlike]
                    if told:
                        values = (self.first[part] + number, "image-clash", told[0])
                        self._base.execute("INSERT OR IGNORE INTO refused VALUES (?, ?, ?)", values)

    def _left_alone(self) -> int:
        """Refuse the rows that relate to what is not in the dataset; how many these are."""
        query = "INSERT OR IGNORE INTO refused SELECT row, 'loss', 'no instruction ' || id FROM "
        return self._base.execute(f"{query} ({DANGLING})").rowcount

    def _unfit(self, parts: Sequence[Path]) -> Iterator[Path]:
        rows = self._base.execute(
            f"SELECT row FROM refused UNION SELECT row FROM ({DANGLING}) ORDER BY row"
        )
        starts = [self.first[part] for part in parts]
        at = -1
        for (row,) in rows:
            while at + 1 < len(starts) and starts[at + 1] <= row:
                at += 1
            yield parts[at]


def images_of(part: Path) -> Iterator[tuple[str, bytes, str]]:
    """Every image of a part: its key, its bytes, and where it comes from."""
    with opened(part) as base:
        yield from base.execute("SELECT key, data, origin FROM images ORDER BY rowid")


def samples_of(part: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every sample of a part: its row, and all of its entry."""
    with opened(part) as base:
        for row, body in base.execute("SELECT row, body FROM samples"):
            yield row, orjson.loads(body)
