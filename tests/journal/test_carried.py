"""Completions outlive a change of the source."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from mirage.errors import RunError
from mirage.journal import Carried, Journal, carry_over
from mirage.record import Completion

from .test_attempts import ANSWER, attempt, key


def block(folder: Path, number: int, text: str) -> Path:
    async def work(journal: Journal) -> None:
        await journal.keep(key(number), ANSWER)
        await journal.keep(key(99), Completion(text))

    folder.mkdir(exist_ok=True)
    attempt(folder, work)
    return folder / "attempt-0000.sqlite"


def test_all_attempts_at_all_blocks(tmp_path: Path) -> None:
    """Every completion of every block is there, once, and a later call adds to them."""
    carry_over([block(tmp_path / "0", 1, "a"), block(tmp_path / "1", 2, "b")], tmp_path / "c")
    carry_over([block(tmp_path / "2", 3, "c")], tmp_path / "c")
    carried = Carried(tmp_path / "c")
    assert [carried.get(key(number)) for number in (1, 2, 3)] == [ANSWER] * 3
    assert carried.get(key(99)) == Completion("c")
    assert carried.get(key(4)) is None
    carried.close()


def test_damage_is_not_carried_over(tmp_path: Path) -> None:
    """A text that is not what was written stays behind."""
    path = block(tmp_path / "0", 1, "a")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE groups SET keys = x'00' WHERE id = 1")
    connection.close()
    carry_over([path], tmp_path / "c")
    carried = Carried(tmp_path / "c")
    assert carried.get(key(1)) is None
    assert carried.get(key(99)) == Completion("a")
    carried.close()


def test_a_damaged_file_of_carried_completions(tmp_path: Path) -> None:
    """It is an error that names the file: the run would pay for everything again."""
    carry_over([block(tmp_path / "0", 1, "a")], tmp_path / "c")
    carried = Carried(tmp_path / "c")
    (tmp_path / "c").write_bytes(b"\0" * 8192)
    with pytest.raises(RunError, match=str(tmp_path / "c")):
        carried.get(key(1))
    carried.close()
