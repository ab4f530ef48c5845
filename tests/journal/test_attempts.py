"""What one attempt at a block writes, the next one reads."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec.structs import replace

from mirage.errors import RunError
from mirage.journal import FAILED, RECORD, WRITTEN, Entry, Journal, Writer
from mirage.record import Completion

T = TypeVar("T")
PLAN = b"f" * 16
ANSWER = Completion("ünïcode \0 text", "stop", 3, 4, 0.5, 2)
ENTRY = Entry(0, RECORD, WRITTEN, b"d" * 16, b"k" * 16, {"files": [["a.png", 1, 2]]})


def key(number: int) -> bytes:
    return number.to_bytes(16)


def attempt(folder: Path, work: Callable[[Journal], Awaitable[T]], fingerprint: bytes = PLAN) -> T:
    """One attempt at a block, from its beginning to its end."""

    async def main() -> T:
        writer = Writer()
        journal = Journal(folder, fingerprint, writer)
        try:
            return await work(journal)
        finally:
            await journal.close()
            await writer.close()

    return asyncio.run(main())


def reading(folder: Path, fingerprint: bytes = PLAN) -> Journal:
    return Journal(folder, fingerprint, None)


async def one_call(journal: Journal) -> None:
    await journal.keep(key(1), ANSWER)
    journal.settle([ENTRY])


def test_a_completion_comes_back(tmp_path: Path) -> None:
    """Within an attempt and in the next one, a completion is what it was."""

    async def work(journal: Journal) -> list[Completion]:
        await journal.keep(key(1), ANSWER)
        return [await journal.recall(key(1))]

    async def later(journal: Journal) -> Completion:
        assert journal.knows(key(1))
        assert not journal.knows(key(2))
        return await journal.recall(key(1))

    assert attempt(tmp_path, work) == [ANSWER]
    assert attempt(tmp_path, later) == ANSWER
    journal = reading(tmp_path)
    assert journal.completion(key(1)) == ANSWER
    assert list(journal.calls()) == [(key(1), ANSWER)]
    journal.release()


def test_an_attempt_without_rows_leaves_no_file(tmp_path: Path) -> None:
    """Looking at a block does not make an attempt."""

    async def nothing(journal: Journal) -> int:
        return journal.attempts

    assert attempt(tmp_path, nothing) == 0
    assert list(tmp_path.iterdir()) == []


def test_entries_belong_to_a_plan(tmp_path: Path) -> None:
    """Another fingerprint sees the completions and none of the entries; entries come in order."""

    async def work(journal: Journal) -> None:
        await one_call(journal)
        journal.settle([replace(ENTRY, kind=FAILED, trail=b"", detail={})])

    attempt(tmp_path, work)
    attempt(tmp_path, one_call)
    journal = reading(tmp_path)
    assert [entry.kind for entry in journal.entries()] == [WRITTEN, FAILED, WRITTEN]
    assert next(journal.entries()) == ENTRY
    journal.release()
    other = reading(tmp_path, b"o" * 16)
    assert list(other.entries()) == []
    assert other.completion(key(1)) == ANSWER
    other.release()


def test_numbers_of_attempts_go_on(tmp_path: Path) -> None:
    """Where an attempt was deleted, its number is not used again."""
    for _ in range(3):
        attempt(tmp_path, one_call)
    (tmp_path / "attempt-0000.sqlite").unlink()
    attempt(tmp_path, one_call)
    names = sorted(path.name for path in tmp_path.glob("*.sqlite"))
    assert names == [f"attempt-000{number}.sqlite" for number in (1, 2, 3)]


def test_a_writer_that_died(tmp_path: Path) -> None:
    """What was committed is read, what was not is not there, and the files stay as they are."""
    path, log = tmp_path / "attempt-0000.sqlite", tmp_path / "attempt-0000.sqlite-wal"

    async def dying(journal: Journal) -> dict[Path, bytes]:
        await one_call(journal)
        await journal.keep(key(2), ANSWER)
        return {file: file.read_bytes() for file in (path, log)}

    files = attempt(tmp_path, dying)
    assert not log.exists()
    files[log] += files[log][-500:]  # a commit that was cut off
    for file, data in files.items():
        file.write_bytes(data)

    async def look(journal: Journal) -> tuple[bool, bool, bool, list[Entry]]:
        one, two, nine = (journal.knows(key(number)) for number in (1, 2, 9))
        return one, two, nine, list(journal.entries())

    assert attempt(tmp_path, look) == (True, True, False, [ENTRY])
    assert {file: file.read_bytes() for file in files} == files


@pytest.mark.parametrize("began", [False, True])
def test_a_writer_that_died_as_it_made_its_file(tmp_path: Path, began: bool) -> None:
    """Nothing was in it, so that nothing is damaged; a file that lost all but its beginning is."""
    attempt(tmp_path, one_call)
    path = tmp_path / "attempt-0001.sqlite"
    path.touch()
    if began:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=WAL")

    async def look(journal: Journal) -> tuple[bool, list[str]]:
        return journal.knows(key(1)), journal.torn

    assert attempt(tmp_path, look) == (True, [])
    first = tmp_path / "attempt-0000.sqlite"
    first.write_bytes(first.read_bytes()[:4096])
    known, (torn,) = attempt(tmp_path, look)
    assert not known and "attempt-0000.sqlite is damaged" in torn


def test_a_text_that_is_not_what_was_written(tmp_path: Path) -> None:
    """A damaged text is no answer: to a writer it is unknown, to a reader an error."""
    attempt(tmp_path, one_call)
    path = tmp_path / "attempt-0000.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE groups SET calls = replace(calls, 'text', 'test')")
    connection.close()

    async def look(journal: Journal) -> tuple[bool, bool, list[str]]:
        return journal.knows(key(1)), journal.holds(key(1)), journal.torn

    known, held, torn = attempt(tmp_path, look)
    assert (known, held) == (False, False)
    assert "attempt-0000.sqlite is damaged" in torn[0]
    journal = reading(tmp_path)
    with pytest.raises(RunError, match="run again"):
        journal.completion(key(1))
    assert list(journal.calls()) == []
    journal.release()


@pytest.mark.parametrize("version", [1, 2])
def test_a_writer_that_sleeps(tmp_path: Path, version: int) -> None:
    """Whatever lock it holds on a file that it has not closed, what it committed is read."""
    attempt(tmp_path, one_call)
    path = tmp_path / "attempt-0000.sqlite"
    data = bytearray(path.read_bytes())
    data[18:20] = bytes([version] * 2)  # 2: with a log, which is gone before the header says so
    path.write_bytes(data)
    code = "import fcntl, sys; file = open(sys.argv[1], 'rb+'); fcntl.lockf(file, fcntl.LOCK_EX)\n"
    code += "print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        journal = reading(tmp_path)
        assert (journal.completion(key(1)), [*journal.entries()]) == (ANSWER, [ENTRY])
        journal.release()


def test_a_writer_that_wakes_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It merges its log in while that is being copied: the file then holds all of it."""
    path, log = tmp_path / "attempt-0000.sqlite", tmp_path / "attempt-0000.sqlite-wal"

    async def sleeping(journal: Journal) -> dict[Path, bytes]:
        await one_call(journal)
        return {file: file.read_bytes() for file in (path, log)}

    files = attempt(tmp_path, sleeping)
    merged = path.read_bytes()
    for file, data in files.items():
        file.write_bytes(data)
    copy = shutil.copyfile

    def wakes_up(source: Path, target: Path) -> None:
        copy(source, target)
        path.write_bytes(merged)
        log.unlink(missing_ok=True)

    monkeypatch.setattr(shutil, "copyfile", wakes_up)
    journal = reading(tmp_path)
    assert (journal.completion(key(1)), journal.torn) == (ANSWER, [])
    journal.release()


def test_a_journal_that_cannot_be_read(tmp_path: Path) -> None:
    """What is not damage is an error, and never taken for it."""
    attempt(tmp_path, one_call)
    journal = reading(tmp_path)
    (file,) = journal._earlier
    file.set_progress_handler(lambda: 1, 1)
    with pytest.raises(RunError, match="cannot be read: interrupted"):
        list(journal.calls())
    journal.release()
