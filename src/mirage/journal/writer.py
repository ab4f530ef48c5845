"""The one thread of a process that writes journals, a group of rows with each commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from mirage.errors import RunError

GROUP_ROWS = 64
GROUP_SECONDS = 0.002


class Attempt(Protocol):
    """What the writer writes to: the file of one attempt, opened by the writer's thread."""

    def connection(self) -> sqlite3.Connection: ...


@dataclass(slots=True)
class Job:
    """Work for the writer: rows for a journal, all in one commit, or a question about it."""

    journal: Attempt
    statement: str = ""
    rows: Sequence[tuple[Any, ...]] = ()
    ask: Callable[[], Any] | None = None
    done: asyncio.Future[Any] | None = None
    answer: Any = None


class Writer:
    """The journals' own thread. Each of its commits is a group: what came since the last one.

    Jobs are handed over GROUP_SECONDS after the first of them, or GROUP_ROWS at once, so that the
    thread wakes once for many.
    """

    def __init__(self) -> None:
        self._turn: list[Job] = []
        self._turns: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._error: RunError | None = None
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def add(self, journal: Attempt, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows with some later group."""
        self._put(Job(journal, statement, rows))

    def commit(
        self, journal: Attempt, statement: str, row: tuple[Any, ...]
    ) -> asyncio.Future[None]:
        """Write a row; the future is done when it is committed."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._put(Job(journal, statement, (row,), done=done))
        return done

    def call(self, journal: Attempt, ask: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run a function in this thread, after everything that came before is committed."""
        done: asyncio.Future[Any] = self._loop.create_future()
        self._put(Job(journal, ask=ask, done=done))
        return done

    async def close(self) -> None:
        """Commit what is left and end the thread."""
        self._hand_over()
        self._turns.put(None)
        await asyncio.to_thread(self._thread.join)
        if self._error:
            raise self._error

    def _put(self, job: Job) -> None:
        if self._error:
            raise self._error
        if not self._turn:
            self._timer = self._loop.call_later(GROUP_SECONDS, self._hand_over)
        self._turn.append(job)
        if len(self._turn) >= GROUP_ROWS:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        turn, self._turn = self._turn, []
        if turn:
            self._turns.put(turn)

    def _work(self) -> None:
        more = True
        while more:
            jobs, more = self._group()
            try:
                if not self._error:
                    self._write(jobs)
            except Exception as exc:  # noqa: BLE001 - nobody would answer those who wait
                self._error = RunError(f"the journal cannot be written: {exc}")
            self._loop.call_soon_threadsafe(self._tell, jobs)

    def _group(self) -> tuple[list[Job], bool]:
        """What has been handed over by now; and whether more may come."""
        jobs: list[Job] = []
        turn = self._turns.get()
        while turn is not None:
            jobs += turn
            try:
                turn = self._turns.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False

    @staticmethod
    def _write(jobs: list[Job]) -> None:
        rows: dict[Attempt, dict[str, list[tuple[Any, ...]]]] = {}
        for job in jobs:
            if job.statement:
                rows.setdefault(job.journal, {}).setdefault(job.statement, []).extend(job.rows)
        for journal, batches in rows.items():
            with journal.connection() as connection:
                for statement, batch in batches.items():
                    connection.executemany(statement, batch)
        for job in jobs:
            if job.ask:
                job.answer = job.ask()

    def _tell(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.done is None or job.done.done():
                continue
            if self._error:
                job.done.set_exception(self._error)
            else:
                job.done.set_result(job.answer)
