"""The one thread of a process that writes journals, a group of rows with each commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from msgspec import Struct, field

from mirage.errors import RunError

GROUP_ROWS = 64
GROUP_SECONDS = 0.004


class Group(Struct):
    """What one commit adds to a journal: calls with their keys, and entries, as JSON."""

    keys: list[bytes] = []
    calls: list[bytes] = []
    entries: list[bytes] = []

    def __len__(self) -> int:
        return len(self.calls) + len(self.entries)


class Attempt(Protocol):
    """What the writer writes to: the file of one attempt, touched by the writer's thread alone."""

    def commit(self, group: Group) -> Any:
        """Write a group, whole or not at all; what comes back is told to those who wait."""
        ...


class Turn(Struct):
    """What is owed to one journal: a group, who waits for its commit, and questions after it."""

    group: Group = field(default_factory=Group)
    waiting: list[asyncio.Future[Any]] = []
    asks: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
    committed: Any = None
    answers: list[Any] = []

    def take_in(self, later: Turn) -> None:
        self.group.keys += later.group.keys
        self.group.calls += later.group.calls
        self.group.entries += later.group.entries
        self.waiting += later.waiting
        self.asks += later.asks


Turns = dict[Attempt, Turn]


class Writer:
    """The journals' own thread. Each of its commits is a group: what came since the last one.

    Rows are handed over GROUP_SECONDS after the first of them, or at once when they are GROUP_ROWS,
    so that the thread wakes once for many: whenever it does, it and the event loop contend for the
    interpreter. They are no more than the `calls` that may be in flight (a call brings two, itself
    and an entry): while one half is being written, the other is still under way.
    """

    def __init__(self, calls: Callable[[], float] = lambda: GROUP_ROWS) -> None:
        self._calls = calls
        self._full = float(GROUP_ROWS)
        self._turns: Turns = {}
        self._rows = 0
        self._queue: SimpleQueue[Turns | None] = SimpleQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._error: RunError | None = None
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def settle(self, journal: Attempt, entries: list[bytes]) -> None:
        """Write entries with some later group."""
        self._turn(journal).group.entries += entries
        self._count(len(entries))

    def keep(self, journal: Attempt, key: bytes, call: bytes) -> asyncio.Future[Any]:
        """Write a call; the future is done when it is committed, with what `commit` gave."""
        done: asyncio.Future[Any] = self._loop.create_future()
        turn = self._turn(journal)
        turn.group.keys.append(key)
        turn.group.calls.append(call)
        turn.waiting.append(done)
        self._count(1)
        return done

    def ask(self, journal: Attempt, question: Callable[[], Any]) -> asyncio.Future[Any]:
        """Call a function in this thread, after everything that came before is committed."""
        done: asyncio.Future[Any] = self._loop.create_future()
        self._turn(journal).asks.append((question, done))
        self._hand_over()
        return done

    async def close(self) -> None:
        """Commit what is left and end the thread."""
        self._hand_over()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        if self._error:
            raise self._error

    def _turn(self, journal: Attempt) -> Turn:
        if self._error:
            raise self._error
        turn = self._turns.get(journal)
        if turn is None:
            turn = self._turns[journal] = Turn()
        return turn

    def _count(self, rows: int) -> None:
        if not self._rows:
            self._timer = self._loop.call_later(GROUP_SECONDS, self._hand_over)
            self._full = min(self._calls() or GROUP_ROWS, GROUP_ROWS)
        self._rows += rows
        if self._rows >= self._full:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        turns, self._turns, self._rows = self._turns, {}, 0
        if turns:
            self._queue.put(turns)

    # -- in the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        more = True
        while more:
            turns, more = self._next()
            try:
                if not self._error:
                    self._write(turns)
            except RunError as exc:
                self._error = exc
            except Exception as exc:  # noqa: BLE001 - nobody would answer those who wait
                self._error = RunError(f"the journal cannot be written: {exc}")
            self._loop.call_soon_threadsafe(self._tell, turns)

    def _next(self) -> tuple[Turns, bool]:
        """What has been handed over by now; and whether more may come."""
        turns: Turns = {}
        more = self._queue.get()
        while more is not None:
            for journal, turn in more.items():
                if journal in turns:
                    turns[journal].take_in(turn)
                else:
                    turns[journal] = turn
            try:
                more = self._queue.get_nowait()
            except Empty:
                return turns, True
        return turns, False

    @staticmethod
    def _write(turns: Turns) -> None:
        for journal, turn in turns.items():
            if turn.group:
                turn.committed = journal.commit(turn.group)
        for turn in turns.values():
            turn.answers = [question() for question, _ in turn.asks]

    def _tell(self, turns: Turns) -> None:
        for turn in turns.values():
            for done in turn.waiting:
                self._answer(done, turn.committed)
            for number, (_, done) in enumerate(turn.asks):
                self._answer(done, None if self._error else turn.answers[number])

    def _answer(self, done: asyncio.Future[Any], answer: Any) -> None:
        if done.done():
            return
        if self._error:
            done.set_exception(self._error)
        else:
            done.set_result(answer)
