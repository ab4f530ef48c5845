"""One attempt at a block: a SQLite file of its own, on top of the attempts before it.

A row of the file is a group: what one commit added, with a hash. SQLite is asked once for many
calls, because each of its steps lets go of the interpreter and must win it back.
"""

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

from mirage.errors import LockedError, RunError
from mirage.journal.entries import KEY_BYTES, Entry
from mirage.journal.writer import Group, Writer
from mirage.record import Completion

GROUPS_HELD = 16
PLAIN = 6
"""How many fields a completion without log-probabilities has in the journal."""
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

SCHEMA = """
CREATE TABLE groups (id INTEGER PRIMARY KEY, fingerprint BLOB,
    keys BLOB,     -- of the calls, 16 bytes each
    calls BLOB,    -- JSON: [[text, finish, prompt_tokens, completion_tokens, seconds, attempts]],
                   -- and as a seventh the log-probabilities where there are any
    entries BLOB,  -- JSON: [[position, child, kind, digest, trail, detail]], bytes as hex
    sum BLOB)
"""
ADD = "INSERT INTO groups (fingerprint, keys, calls, entries, sum) VALUES (?,?,?,?,?)"
GROUPS = "SELECT id, fingerprint, keys, calls, entries, sum FROM groups"
GROUP = "SELECT keys, calls FROM groups WHERE id = ?"
UNBORN = "SELECT count(*) = 0 AND (SELECT page_count FROM pragma_page_count) < 2 FROM sqlite_schema"

Where = tuple[int, int]
"""The number of an attempt, and that of a group in it."""


class Journal:
    """One attempt at one block, on top of the attempts before it.

    `folder` holds the files `attempt-0000.sqlite`, `attempt-0001.sqlite`, ...; the file of this
    attempt is made with its first group. `torn` names the earlier files that could be read in part.
    """

    def __init__(self, folder: Path, fingerprint: bytes, writer: Writer | None) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.torn: list[str] = []
        self._writer = writer
        self._earlier: list[sqlite3.Connection] = []
        self._own: sqlite3.Connection | None = None
        self._known: dict[bytes, Where] = {}
        self._settled: list[bytes] = []
        self._held: dict[Where, dict[bytes, Completion]] = {}
        self._copies: list[tempfile.TemporaryDirectory[str]] = []
        self._paths = sorted(folder.glob("attempt-*.sqlite"))
        for path in self._paths:
            self._read(path)

    # -- reading what earlier attempts left ------------------------------------------------------

    def _read(self, path: Path) -> None:
        # Immutable: no lock is asked for, which a writer that sleeps may hold for ever. Where its
        # log is gone, all that it committed has been merged in, and it changes nothing more.
        connection = sqlite3.connect(
            f"{self._whole(path).as_uri()}?immutable=1", uri=True, check_same_thread=False
        )
        attempt = len(self._earlier)
        self._earlier.append(connection)
        # Without this SQLite reads nothing of a file that is shorter than it was.
        connection.execute("PRAGMA writable_schema=ON")
        for number, fingerprint, keys, _, entries in self._groups(attempt):
            where = (attempt, number)
            self._known.update(dict.fromkeys(split(keys), where))
            if fingerprint == self.fingerprint:
                self._settled.append(entries)

    def _whole(self, path: Path) -> Path:
        """The file itself or, where its writer died or sleeps, a copy with what had yet to be
        merged in.
        """
        while logs := logs_of(path):
            folder = tempfile.TemporaryDirectory(prefix="journal-")
            self._copies.append(folder)
            copy = Path(folder.name) / path.name
            shutil.copyfile(path, copy)
            try:
                for log in logs:
                    shutil.copyfile(log, copy.with_name(log.name))
            except FileNotFoundError:  # its writer woke up, and has merged it in
                continue
            with contextlib.closing(sqlite3.connect(copy)) as connection:
                merge(connection)
            return copy
        return path.absolute()

    def _groups(self, attempt: int) -> Iterator[tuple[int, bytes, bytes, bytes, bytes]]:
        """The groups of an earlier attempt that are what was written, in order; where they cannot
        all be read, those before the damage and those after it. Raises RunError where it is not
        damage that prevents.
        """
        read = self._earlier[attempt].execute
        try:
            for row in read(GROUPS):
                if (group := self._sound(attempt, row)) is not None:
                    yield group
        except sqlite3.DatabaseError as exc:
            if getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in DAMAGE:
                raise RunError(f"{self._paths[attempt]} cannot be read: {exc}") from exc
            if unborn(self._earlier[attempt]):
                return
            self._tear(attempt)
            end: list[Any] = []
            with contextlib.suppress(sqlite3.DatabaseError):
                for row in read(f"{GROUPS} ORDER BY id DESC"):
                    end.append(self._sound(attempt, row))
            yield from filter(None, reversed(end))

    def _sound(self, attempt: int, row: Any) -> Any:
        """A group without its hash; None where it is not what was written."""
        *group, found = row
        if hash_of(*group[1:]) == found:
            return group
        self._tear(attempt)
        return None

    def _tear(self, attempt: int) -> None:
        warning = f"{self._paths[attempt]} is damaged; what it has lost is done again"
        if warning not in self.torn:
            self.torn.append(warning)

    def entries(self) -> Iterator[Entry]:
        """What earlier attempts settled under this fingerprint; a later entry replaces one before.

        Entries come in the order they were written.
        """
        for entries in self._settled:
            for position, child, kind, digest, trail, detail in orjson.loads(entries):
                yield Entry(
                    position, child, kind, bytes.fromhex(digest), bytes.fromhex(trail), detail or {}
                )

    @property
    def attempts(self) -> int:
        """How many attempts have left a file."""
        return len(self._earlier) + (self._own is not None)

    # -- this attempt ----------------------------------------------------------------------------

    def commit(self, group: Group) -> Where:
        """Write a group to this attempt's file; called by the writer's thread alone."""
        row = (self.fingerprint, b"".join(group.keys), array(group.calls), array(group.entries))
        try:
            number = self._connection().execute(ADD, (*row, hash_of(*row))).lastrowid
        except (OSError, sqlite3.Error) as exc:
            raise RunError(f"the journal in {self.folder} cannot be written: {exc}") from exc
        assert number is not None
        return len(self._earlier), number

    def _connection(self) -> sqlite3.Connection:
        """This attempt's file, made when it is first needed."""
        if self._own is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            number = int(self._paths[-1].stem.partition("-")[2]) + 1 if self._paths else 0
            path = self.folder / f"attempt-{number:04}.sqlite"
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                message = f"{self.folder} has been taken over by another process"
                raise LockedError(message) from None
            # Without a level, a statement is a transaction: one step of SQLite instead of three.
            self._own = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._own.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._own.execute("PRAGMA journal_mode=WAL")
            self._own.execute("PRAGMA synchronous=FULL")
            self._own.executescript(SCHEMA)
        return self._own

    async def keep(self, key: bytes, completion: Completion) -> None:
        """Journal a completion; returns when it is committed."""
        assert self._writer is not None
        c = completion
        row: tuple[Any, ...]
        row = (c.text, c.finish, c.prompt_tokens, c.completion_tokens, c.seconds, c.attempts)
        if c.logprobs:
            row += (c.logprobs,)
        self._known[key] = await self._writer.keep(self, key, orjson.dumps(row))

    def settle(self, entries: Sequence[Entry]) -> None:
        """Journal what became of a record, its children included; on disk with a later group."""
        assert self._writer is not None
        self._writer.settle(self, [to_json(entry) for entry in entries])

    def knows(self, key: bytes) -> bool:
        return key in self._known

    def holds(self, trail: bytes) -> bool:
        """Whether every answer of an entry's trail is known."""
        return all(key in self._known for key in split(trail))

    async def recall(self, key: bytes) -> Completion:
        """A completion that this journal knows."""
        attempt, number = self._known[key]
        if attempt < len(self._earlier):
            return self._completion(key)
        assert self._writer is not None
        group = await self._writer.ask(self, lambda: read_group(self._connection(), number))
        completion: Completion = group[key]
        return completion

    def completion(self, key: bytes) -> Completion:
        """A completion of an earlier attempt: what assembly reads. Raises RunError."""
        if key not in self._known:
            raise RunError(f"{self.folder} has lost an answer; run again to mend it")
        return self._completion(key)

    def _completion(self, key: bytes) -> Completion:
        """One of an earlier attempt. It is followed by others of its group: the last are held."""
        where = self._known[key]
        if where not in self._held:
            if len(self._held) == GROUPS_HELD:
                del self._held[next(iter(self._held))]
            attempt, number = where
            self._held[where] = read_group(self._earlier[attempt], number)
        return self._held[where][key]

    def calls(self) -> Iterator[tuple[bytes, Completion]]:
        """The completions of all earlier attempts, each with its key."""
        for attempt in range(len(self._earlier)):
            for _, _, keys, calls, _ in self._groups(attempt):
                yield from completions(keys, calls)

    def costs(self) -> Iterator[list[Any]]:
        """Of the same completions, all but the texts: finish, tokens, seconds, attempts."""
        for attempt in range(len(self._earlier)):
            for _, _, _, calls, _ in self._groups(attempt):
                for row in orjson.loads(calls):
                    yield row[1:PLAIN]

    async def close(self) -> None:
        """Commit what is owed to this attempt's file and let go of all files."""
        assert self._writer is not None
        await self._writer.ask(self, self.release)

    def release(self) -> None:
        """Let go of all files."""
        for connection in self._earlier:
            connection.close()
        if self._own is not None:
            merge(self._own)
            self._own.close()
        for folder in self._copies:
            folder.cleanup()
        self._known.clear()
        self._held.clear()


def logs_of(path: Path) -> list[Path]:
    """The files of what has yet to be merged into a file."""
    logs = (path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))
    return [log for log in logs if log.exists() and log.stat().st_size]


def unborn(file: sqlite3.Connection) -> bool:
    """Whether a file has no table yet: its writer was killed while it made it."""
    try:
        return bool(file.execute(UNBORN).fetchone()[0])
    except sqlite3.DatabaseError:
        return False


def merge(file: sqlite3.Connection) -> None:
    """Bring the write-ahead log into the file, and remove it; where that fails, it stays."""
    with contextlib.suppress(sqlite3.DatabaseError):
        file.execute("PRAGMA journal_mode=DELETE")


def to_json(entry: Entry) -> bytes:
    e = entry
    row = (e.position, e.child, e.kind, e.digest.hex(), e.trail.hex(), e.detail or None)
    return orjson.dumps(row)


def array(rows: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(rows) + b"]"


def split(keys: bytes) -> list[bytes]:
    return [keys[at : at + KEY_BYTES] for at in range(0, len(keys), KEY_BYTES)]


def read_group(file: sqlite3.Connection, number: int) -> dict[bytes, Completion]:
    """The calls of one group by their keys."""
    return dict(completions(*file.execute(GROUP, (number,)).fetchone()))


def completions(keys: bytes, calls: bytes) -> Iterator[tuple[bytes, Completion]]:
    """The calls of a group, each with its key."""
    for key, row in zip(split(keys), orjson.loads(calls), strict=True):
        if len(row) > PLAIN:
            row[PLAIN] = tuple(row[PLAIN])
        yield key, Completion(*row)


def hash_of(*columns: Any) -> bytes:
    """SQLite has none: it notices a page that is missing, but not zeros in the place of a text."""
    return xxh3_64_digest(b"\0".join(c if isinstance(c, bytes) else b"" for c in columns))
