"""libcurl's transfers, driven by the running event loop.

pycurl brings such a driver, `AsyncCurlMulti`, which takes every socket out of the event loop after
a transfer and puts it back for the next one: six system calls and a tenth of the cost of a call.
Here sockets stay where they are between transfers, in an epoll of their own, which the loop watches
as a single one. A socket that is closed leaves it by itself, whoever closed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select

from pycurl import (
    M_MAXCONNECTS,
    M_SOCKETFUNCTION,
    M_TIMERFUNCTION,
    POLL_IN,
    POLL_INOUT,
    POLL_OUT,
    SOCKET_TIMEOUT,
    Curl,
    CurlMulti,
    error,
)

EVENTS = {
    POLL_IN: select.EPOLLIN,
    POLL_OUT: select.EPOLLOUT,
    POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


class Transfers:
    """Transfers under way, and at most `connections` that are kept for others. Made in a loop."""

    def __init__(self, connections: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[Curl, asyncio.Future[None]] = {}
        self._wanted: set[int] = set()
        self._epoll = select.epoll()
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        self._multi = CurlMulti()
        self._multi.setopt(M_MAXCONNECTS, connections)
        self._multi.setopt(M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(M_TIMERFUNCTION, self._set_timer)
        self._loop.add_reader(self._epoll.fileno(), self._on_events)

    async def perform(self, curl: Curl) -> None:
        """Raises `pycurl.error`. One that is cancelled leaves its handle behind."""
        done = self._under_way[curl] = self._loop.create_future()
        self._multi.add_handle(curl)
        try:
            await done
        except asyncio.CancelledError:
            if self._under_way.pop(curl, None):
                self._multi.remove_handle(curl)
            raise

    async def aclose(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        for curl, done in self._under_way.items():
            self._multi.remove_handle(curl)
            done.cancel()
        self._under_way.clear()
        self._multi.close()
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._epoll.close()

    # -- what curl asks for ----------------------------------------------------------------------

    def _watch(self, events: int, socket: int, multi: CurlMulti, data: object) -> None:
        if (mask := EVENTS.get(events)) is None:
            self._wanted.discard(socket)  # it stays in the epoll: most are wanted again at once
            return
        self._wanted.add(socket)
        try:
            self._epoll.modify(socket, mask)
        except FileNotFoundError:
            self._epoll.register(socket, mask)

    def _set_timer(self, milliseconds: int) -> None:
        """Curl asks with every call, and mostly for a later time than before: the timer that runs
        is left alone then, and finds by itself that it is too early.
        """
        if milliseconds == 0:
            self._soon = self._soon or self._loop.call_soon(self._on_soon)
            return
        self._due = self._loop.time() + milliseconds / 1000 if milliseconds > 0 else math.inf
        if self._timer is None or self._due < self._timer.when():
            self._wait()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wanted = self._due < math.inf
        self._timer = self._loop.call_at(self._due, self._on_time) if wanted else None

    # -- what happens ----------------------------------------------------------------------------

    def _on_soon(self) -> None:
        self._soon = None
        self._go_on(SOCKET_TIMEOUT)

    def _on_time(self) -> None:
        self._timer = None
        if self._due <= self._loop.time():
            self._due = math.inf
            self._go_on(SOCKET_TIMEOUT)
        else:
            self._wait()

    def _on_events(self) -> None:
        for socket, _ in self._epoll.poll(0):
            if socket in self._wanted:
                self._go_on(socket)
            else:  # an idle one that was closed at the other end, and by curl perhaps just now
                with contextlib.suppress(OSError):
                    self._epoll.unregister(socket)

    def _go_on(self, socket: int) -> None:
        """Let curl do what there is to do, and tell who waits for what has ended."""
        try:
            self._multi.socket_action(socket, 0)
        except error as exc:  # curl cannot go on at all
            for curl in list(self._under_way):
                self._end(curl, exc)
            return
        _, succeeded, failed = self._multi.info_read()
        for curl in succeeded:
            self._end(curl)
        for curl, code, message in failed:
            self._end(curl, error(code, message))

    def _end(self, curl: Curl, fault: Exception | None = None) -> None:
        self._multi.remove_handle(curl)
        done = self._under_way.pop(curl)
        if done.done():
            return
        if fault is None:
            done.set_result(None)
        else:
            done.set_exception(fault)
