"""Completions from before the source changed: its new blocks need not pay for them again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from msgspec.structs import astuple, replace

from mirage.atomic import replacing
from mirage.errors import RunError
from mirage.journal.attempts import PLAIN, Journal
from mirage.record import Completion

COLUMNS = "text, finish, prompt_tokens, completion_tokens, seconds, attempts"
CARRIED = """CREATE TABLE IF NOT EXISTS calls (key BLOB PRIMARY KEY, text TEXT, finish TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL, attempts INTEGER)"""
SCORES = "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, logprobs TEXT)"
"""Of the few completions that have any; a file from before them has no such table."""
FOUND = f"SELECT {COLUMNS}, logprobs FROM calls LEFT JOIN scores USING (key) WHERE key = ?"


class Carried:
    """Completions from before the source changed, by key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute(CARRIED)
        self._connection.execute(SCORES)

    def get(self, key: bytes) -> Completion | None:
        """Raises RunError where the file is damaged: without it all would be paid for again."""
        try:
            row = self._connection.execute(FOUND, (key,)).fetchone()
        except sqlite3.Error as exc:
            raise RunError(f"{self.path} cannot be read: {exc}") from exc
        if row is None:
            return None
        logprobs = tuple(orjson.loads(row[PLAIN] or "[]"))
        return replace(Completion(*row[:PLAIN]), logprobs=logprobs)

    def close(self) -> None:
        self._connection.close()


def carry_over(attempts: Sequence[Path], target: Path) -> None:
    """Add every completion of some journals to one file, by key. It appears whole: nobody waits for
    a process that sleeps over it, which finds its own swept away when it wakes up.
    """
    with replacing(target) as new, contextlib.closing(sqlite3.connect(new)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        if target.exists():
            with contextlib.closing(sqlite3.connect(target)) as before:
                before.backup(connection)
        connection.execute(CARRIED)
        connection.execute(SCORES)
        for folder in {path.parent: None for path in attempts}:
            journal = Journal(folder, b"", None)
            try:
                with connection:
                    for key, completion in journal.calls():
                        add(connection, key, completion)
            finally:
                journal.release()


def add(connection: sqlite3.Connection, key: bytes, completion: Completion) -> None:
    row: Any = astuple(completion)
    connection.execute("INSERT OR REPLACE INTO calls VALUES (?,?,?,?,?,?,?)", (key, *row[:PLAIN]))
    if completion.logprobs:
        logprobs = orjson.dumps(completion.logprobs).decode()
        connection.execute("INSERT OR REPLACE INTO scores VALUES (?,?)", (key, logprobs))
