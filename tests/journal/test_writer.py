"""The journals' own thread: what is committed when, and what happens when it cannot write."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from mirage.errors import RunError
from mirage.journal import Writer
from mirage.journal import writer as module
from mirage.journal.writer import Group

ROW = "INSERT INTO t VALUES (?)"


class File:
    """A journal that counts its commits and may be broken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.own: sqlite3.Connection | None = None
        self.broken: Exception | None = None
        self.groups = 0

    def commit(self, group: Group) -> int:
        if self.broken:
            raise self.broken
        if self.own is None:
            self.own = sqlite3.connect(self.path, check_same_thread=False)
            self.own.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER)")
        with self.own:
            self.own.executemany(ROW, [(int(row),) for row in group.calls + group.entries])
        self.groups += 1
        return self.groups

    def rows(self) -> list[int]:
        """What another connection sees."""
        connection = sqlite3.connect(self.path)
        found = [n for (n,) in connection.execute("SELECT n FROM t ORDER BY n")]
        connection.close()
        return found


def rows(*numbers: int) -> list[bytes]:
    return [str(number).encode() for number in numbers]


def test_what_is_awaited_is_committed(tmp_path: Path) -> None:
    """When a commit is done, others can see the row, and all that came before it."""

    async def main() -> None:
        writer, file = Writer(), File(tmp_path / "a")
        writer.settle(file, rows(1, 2))
        assert await writer.keep(file, b"k", b"3") == 1
        assert file.rows() == [1, 2, 3]
        assert await writer.ask(file, file.rows) == [1, 2, 3]
        await writer.close()

    asyncio.run(main())


def test_many_rows_share_a_commit(tmp_path: Path) -> None:
    """Rows that come together are written together, to each file its own."""

    async def main() -> None:
        writer, one, other = Writer(), File(tmp_path / "a"), File(tmp_path / "b")
        await asyncio.gather(
            *(writer.keep(one if n % 2 else other, b"k", b"%d" % n) for n in range(500))
        )
        assert one.rows() == list(range(1, 500, 2))
        assert other.rows() == list(range(0, 500, 2))
        assert one.groups < 50
        await writer.close()

    asyncio.run(main())


def test_calls_that_wait_for_each_other_are_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no more calls can come before these are written, nothing is waited for."""
    monkeypatch.setattr(module, "GROUP_SECONDS", 3600.0)

    async def main() -> None:
        writer, file = Writer(lambda: 2), File(tmp_path / "a")
        await asyncio.gather(writer.keep(file, b"k", b"1"), writer.keep(file, b"k", b"2"))
        assert file.groups == 1
        await writer.close()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_a_group_is_as_large_as_calls_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where they become fewer while the run goes on, as when another process takes a share."""
    monkeypatch.setattr(module, "GROUP_SECONDS", 3600.0)

    async def main() -> None:
        calls = 4
        writer, file = Writer(lambda: calls), File(tmp_path / "a")
        await asyncio.gather(*(writer.keep(file, b"k", b"1") for _ in range(calls)))
        calls = 2
        await asyncio.gather(*(writer.keep(file, b"k", b"1") for _ in range(calls)))
        assert file.groups == 2
        await writer.close()

    asyncio.run(asyncio.wait_for(main(), 10))


def test_closing_writes_what_is_left(tmp_path: Path) -> None:
    """Rows that nobody waits for are on disk when the writer is closed."""
    file = File(tmp_path / "a")

    async def main() -> None:
        writer = Writer()
        writer.settle(file, rows(*range(10)))
        await writer.close()

    asyncio.run(main())
    assert file.rows() == list(range(10))


@pytest.mark.parametrize(
    "fault", [sqlite3.OperationalError("disk full"), OSError("no"), OverflowError("too large")]
)
def test_a_writer_that_cannot_write(tmp_path: Path, fault: Exception) -> None:
    """Everybody who waits is told, and everybody who comes later."""

    async def main() -> None:
        writer, file = Writer(), File(tmp_path / "a")
        await writer.keep(file, b"k", b"1")
        file.broken = fault
        waiting = [writer.keep(file, b"k", b"%d" % n) for n in range(5)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, RunError) for result in results)
        with pytest.raises(RunError, match=str(fault)):
            writer.settle(file, rows(2))
        with pytest.raises(RunError):
            await writer.close()
        assert file.rows() == [1]

    asyncio.run(asyncio.wait_for(main(), 10))
