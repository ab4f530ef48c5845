"""One attempt at a block: a SQLite file of its own, on top of the attempts before it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from xxhash import xxh3_64_digest

from mirage.errors import RunError
from mirage.journal.entries import KEY_BYTES, Entry
from mirage.journal.writer import Writer
from mirage.record import Completion

TEXTS_AT_ONCE, RUNS_HELD = 64, 8
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

SCHEMA = """
CREATE TABLE calls (id INTEGER PRIMARY KEY, key BLOB, text TEXT, finish TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL, attempts INTEGER, sum BLOB);
CREATE TABLE entries (id INTEGER PRIMARY KEY, position INTEGER, child INTEGER, kind TEXT,
    digest BLOB, fingerprint BLOB, trail BLOB, detail BLOB);
"""
ADD_CALL = "INSERT INTO calls VALUES (?,?,?,?,?,?,?,?,?)"
ADD_ENTRY = """INSERT INTO entries (position, child, kind, digest, fingerprint, trail, detail)
    VALUES (?,?,?,?,?,?,?)"""
COLUMNS = "text, finish, prompt_tokens, completion_tokens, seconds, attempts"
TEXTS = "SELECT id, text, sum FROM calls WHERE id >= ? AND id < ?"
CALL = f"SELECT {COLUMNS} FROM calls WHERE id = ?"
SUMS = """SELECT count(*), sum(attempts), sum(prompt_tokens), sum(completion_tokens), sum(seconds)
    FROM calls WHERE finish <> 'python'"""


class Journal:
    """One attempt at one block, on top of the attempts before it.

    `folder` holds the files `attempt-0000.sqlite`, `attempt-0001.sqlite`, ...; the file of this
    attempt is made with its first row. `torn` names the earlier files that could be read in part.
    They are checked where there is a writer: what they have lost can be written again.
    """

    def __init__(self, folder: Path, fingerprint: bytes, writer: Writer | None) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.torn: list[str] = []
        self._writer = writer
        self._earlier: list[sqlite3.Connection] = []
        self._own: sqlite3.Connection | None = None
        self._known: dict[bytes, tuple[int, int]] = {}
        self._texts: dict[tuple[int, int], dict[int, str]] = {}
        self._calls = 0
        self._copies: list[tempfile.TemporaryDirectory[str]] = []
        self._paths = sorted(folder.glob("attempt-*.sqlite"))
        for path in self._paths:
            self._read(path)

    # -- reading what earlier attempts left ------------------------------------------------------

    def _read(self, path: Path) -> None:
        connection = sqlite3.connect(
            f"{self._settled(path).as_uri()}?mode=ro", uri=True, check_same_thread=False
        )
        attempt = len(self._earlier)
        self._earlier.append(connection)
        # Without this SQLite reads nothing of a file that is shorter than it was.
        connection.execute("PRAGMA writable_schema=ON")
        if self._writer is None:
            for number, key in self._rows(attempt, "SELECT id, key FROM calls"):
                self._known[key] = (attempt, number)
            return
        for number, key, text, found in self._rows(attempt, "SELECT id, key, text, sum FROM calls"):
            if check_sum(text) == found:
                self._known[key] = (attempt, number)
            else:
                self._tear(attempt)

    def _settled(self, path: Path) -> Path:
        """The file itself or, where its writer died within a commit, a copy that is rolled back."""
        rollback = path.with_name(path.name + "-journal")
        if not rollback.exists() or rollback.stat().st_size == 0:
            return path.absolute()
        folder = tempfile.TemporaryDirectory(prefix="journal-")
        self._copies.append(folder)
        copy = Path(folder.name) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(rollback, copy.with_name(rollback.name))
        with (
            contextlib.closing(sqlite3.connect(copy)) as connection,
            contextlib.suppress(sqlite3.DatabaseError),
        ):
            connection.execute("SELECT count(*) FROM calls").fetchone()
        return copy

    def _rows(self, attempt: int, query: str, *values: Any) -> Iterator[Any]:
        """The rows of an earlier attempt as they were written; where they cannot all be read, those
        before the damage and those after it. Raises RunError where it is not damage that prevents.
        """
        read = self._earlier[attempt].execute
        end: list[Any] = []
        try:
            yield from read(query, values)
        except sqlite3.DatabaseError as exc:
            if getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in DAMAGE:
                raise RunError(f"{self._paths[attempt]} cannot be read: {exc}") from exc
            self._tear(attempt)
            with contextlib.suppress(sqlite3.DatabaseError):
                for row in read(f"{query} ORDER BY id DESC", values):
                    end.append(row)
        yield from reversed(end)

    def _tear(self, attempt: int) -> None:
        warning = f"{self._paths[attempt]} is damaged; what it has lost is done again"
        if warning not in self.torn:
            self.torn.append(warning)

    def entries(self) -> Iterator[Entry]:
        """What earlier attempts settled under this fingerprint; a later entry replaces one before.

        Entries come in the order they were written.
        """
        query = f"""SELECT position, child, kind, digest, trail, detail FROM entries
            WHERE fingerprint = x'{self.fingerprint.hex()}'"""
        for attempt in range(len(self._earlier)):
            for *columns, detail in self._rows(attempt, query):
                position, child, kind, digest, trail = columns
                try:
                    known = orjson.loads(detail) if detail else {}
                except orjson.JSONDecodeError:
                    self._tear(attempt)
                    continue
                yield Entry(position, child, kind, digest, trail, known)

    @property
    def attempts(self) -> int:
        """How many attempts have left a file."""
        return len(self._earlier) + (self._own is not None)

    # -- this attempt ----------------------------------------------------------------------------

    def connection(self) -> sqlite3.Connection:
        """This attempt's file, made when it is first needed; used by the writer's thread alone."""
        if self._own is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            number = int(self._paths[-1].stem.partition("-")[2]) + 1 if self._paths else 0
            path = self.folder / f"attempt-{number:04}.sqlite"
            path.touch(exist_ok=False)
            self._own = sqlite3.connect(path, check_same_thread=False)
            self._own.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._own.execute("PRAGMA journal_mode=TRUNCATE")
            self._own.execute("PRAGMA synchronous=NORMAL")
            self._own.executescript(SCHEMA)
        return self._own

    async def keep(self, key: bytes, completion: Completion) -> None:
        """Journal a completion; returns when it is committed."""
        assert self._writer is not None
        self._calls += 1
        number, c = self._calls, completion
        row = (c.text, c.finish, c.prompt_tokens, c.completion_tokens, c.seconds, c.attempts)
        await self._writer.commit(self, ADD_CALL, (number, key, *row, check_sum(c.text)))
        self._known[key] = (len(self._earlier), number)

    def settle(self, entries: Sequence[Entry]) -> None:
        """Journal what became of a record, its children included; on disk with a later group."""
        assert self._writer is not None
        self._writer.add(self, ADD_ENTRY, [self._row(entry) for entry in entries])

    def _row(self, e: Entry) -> tuple[Any, ...]:
        detail = orjson.dumps(e.detail) if e.detail else None
        return (e.position, e.child, e.kind, e.digest, self.fingerprint, e.trail, detail)

    def knows(self, key: bytes) -> bool:
        return key in self._known

    def holds(self, trail: bytes) -> bool:
        """Whether every answer of an entry's trail is known."""
        keys = (trail[at : at + KEY_BYTES] for at in range(0, len(trail), KEY_BYTES))
        return all(key in self._known for key in keys)

    async def recall(self, key: bytes) -> Completion:
        """A completion that this journal knows."""
        attempt, number = self._known[key]
        if attempt < len(self._earlier):
            return self._completion(self._earlier[attempt], number)
        assert self._writer is not None
        own = self.connection
        completion: Completion = await self._writer.call(
            self, lambda: self._completion(own(), number)
        )
        return completion

    @staticmethod
    def _completion(connection: sqlite3.Connection, number: int) -> Completion:
        return Completion(*connection.execute(CALL, (number,)).fetchone())

    def calls(self) -> Iterator[tuple[Any, ...]]:
        """The completions of all earlier attempts, each after its key."""
        for attempt in range(len(self._earlier)):
            for *row, known in self._rows(attempt, f"SELECT key, {COLUMNS}, sum FROM calls"):
                if check_sum(row[1]) == known:
                    yield tuple(row)

    def sums(self) -> tuple[int, int, int, int, float]:
        """Over all earlier attempts: calls, tries, prompt and completion tokens, seconds."""
        sums = [0, 0, 0, 0, 0.0]
        for attempt in range(len(self._earlier)):
            for row in self._rows(attempt, SUMS):
                sums = [mine + (theirs or 0) for mine, theirs in zip(sums, row, strict=True)]
        calls, tries, prompt, completion, seconds = sums
        return int(calls), int(tries), int(prompt), int(completion), seconds

    def text(self, key: bytes) -> str:
        """The text of a completion of an earlier attempt: what assembly reads. Raises RunError.

        Assembly asks in nearly the order of the calls, so texts are read in runs of neighbours.
        """
        if key not in self._known:
            raise RunError(f"{self.folder} has lost an answer; run again to mend it")
        attempt, number = self._known[key]
        run = attempt, number // TEXTS_AT_ONCE
        if run not in self._texts:
            if len(self._texts) == RUNS_HELD:
                del self._texts[next(iter(self._texts))]
            first = run[1] * TEXTS_AT_ONCE
            found = self._rows(attempt, TEXTS, first, first + TEXTS_AT_ONCE)
            self._texts[run] = {n: text for n, text, known in found if check_sum(text) == known}
        try:
            return self._texts[run][number]
        except KeyError:
            raise RunError(f"{self._paths[attempt]} is damaged; run again to mend it") from None

    async def close(self) -> None:
        """Commit what is owed to this attempt's file and let go of all files."""
        assert self._writer is not None
        await self._writer.call(self, self.release)

    def release(self) -> None:
        """Let go of all files."""
        for connection in [*self._earlier, *([self._own] if self._own else [])]:
            connection.close()
        for folder in self._copies:
            folder.cleanup()
        self._known.clear()
        self._texts.clear()


def check_sum(text: Any) -> bytes:
    """SQLite has none: it notices a page that is missing, but not zeros in the place of a text."""
    return xxh3_64_digest(str(text).encode())
