"""The journals' own thread: what is committed when, and what happens when it cannot write."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from mirage.errors import RunError
from mirage.journal import Writer

TABLE = "CREATE TABLE IF NOT EXISTS t (n INTEGER)"
ADD = "INSERT INTO t VALUES (?)"


class File:
    """An attempt's file, which counts its commits and may be broken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.own: sqlite3.Connection | None = None
        self.broken: Exception | None = None
        self.groups = 0

    def connection(self) -> sqlite3.Connection:
        if self.broken:
            raise self.broken
        if self.own is None:
            self.own = sqlite3.connect(self.path, check_same_thread=False)
            self.own.execute(TABLE)
        self.groups += 1
        return self.own

    def rows(self) -> list[int]:
        """What another connection sees."""
        connection = sqlite3.connect(self.path)
        found = [n for (n,) in connection.execute("SELECT n FROM t ORDER BY n")]
        connection.close()
        return found


def test_what_is_awaited_is_committed(tmp_path: Path) -> None:
    """When a commit is done, others can see the row, and all that came before it."""

    async def main() -> None:
        writer, file = Writer(), File(tmp_path / "a")
        writer.add(file, ADD, [(1,), (2,)])
        await writer.commit(file, ADD, (3,))
        assert file.rows() == [1, 2, 3]
        assert await writer.call(file, file.rows) == [1, 2, 3]
        await writer.close()

    asyncio.run(main())


def test_many_rows_share_a_commit(tmp_path: Path) -> None:
    """Rows that come together are written together, to each file its own."""

    async def main() -> None:
        writer, one, other = Writer(), File(tmp_path / "a"), File(tmp_path / "b")
        await asyncio.gather(
            *(writer.commit(one if n % 2 else other, ADD, (n,)) for n in range(500))
        )
        assert one.rows() == list(range(1, 500, 2))
        assert other.rows() == list(range(0, 500, 2))
        assert one.groups < 50
        await writer.close()

    asyncio.run(main())


def test_closing_writes_what_is_left(tmp_path: Path) -> None:
    """Rows that nobody waits for are on disk when the writer is closed."""
    file = File(tmp_path / "a")

    async def main() -> None:
        writer = Writer()
        writer.add(file, ADD, [(n,) for n in range(10)])
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
        await writer.commit(file, ADD, (1,))
        file.broken = fault
        waiting = [writer.commit(file, ADD, (n,)) for n in range(5)]
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, RunError) for result in results)
        with pytest.raises(RunError, match=str(fault)):
            writer.add(file, ADD, [(2,)])
        with pytest.raises(RunError):
            await writer.close()
        assert file.rows() == [1]

    asyncio.run(asyncio.wait_for(main(), 10))
