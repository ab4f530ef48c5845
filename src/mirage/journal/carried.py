"""Completions from before the source changed: its new blocks need not pay for them again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from mirage.errors import RunError
from mirage.journal.attempts import Journal
from mirage.record import Completion

COLUMNS = "text, finish, prompt_tokens, completion_tokens, seconds, attempts"
CARRIED = """CREATE TABLE IF NOT EXISTS calls (key BLOB PRIMARY KEY, text TEXT, finish TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, seconds REAL, attempts INTEGER)"""


class Carried:
    """Completions from before the source changed, by key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.execute(CARRIED)

    def get(self, key: bytes) -> Completion | None:
        """Raises RunError where the file is damaged: without it all would be paid for again."""
        query = f"SELECT {COLUMNS} FROM calls WHERE key = ?"
        try:
            row = self._connection.execute(query, (key,)).fetchone()
        except sqlite3.Error as exc:
            raise RunError(f"{self.path} cannot be read: {exc}") from exc
        return Completion(*row) if row else None

    def close(self) -> None:
        self._connection.close()


def carry_over(attempts: Sequence[Path], target: Path) -> None:
    """Copy every completion of some journals into one file, by key."""
    with contextlib.closing(sqlite3.connect(target)) as connection:
        connection.execute(CARRIED)
        for folder in {path.parent: None for path in attempts}:
            journal = Journal(folder, b"", None)
            try:
                with connection:
                    connection.executemany(
                        "INSERT OR REPLACE INTO calls VALUES (?,?,?,?,?,?,?)",
                        ((key, *astuple(completion)) for key, completion in journal.calls()),
                    )
            finally:
                journal.release()
