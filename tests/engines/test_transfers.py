"""Sockets that stay watched between calls: what becomes of those that are closed meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest

if sys.platform != "linux":
    pytest.skip("other systems have pycurl's own driver", allow_module_level=True)

import pycurl

from mirage.engines.transfers import Transfers

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[Transfers, str], Awaitable[None]]


def handle(url: str, **options: int) -> tuple[pycurl.Curl, list[bytes]]:
    curl, received = pycurl.Curl(), list[bytes]()
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.PROXY, "")
    curl.setopt(pycurl.WRITEFUNCTION, received.append)
    for name, value in options.items():
        curl.setopt(getattr(pycurl, name), value)
    return curl, received


def play(script: Script, *, answers: int) -> int:
    """Run a script beside a server that answers so often and then closes, without a word of it.

    Returns how many connections were made.
    """

    async def main() -> int:
        made = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal made
            made += 1
            for _ in range(answers):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(ANSWER)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        transfers = Transfers(connections=4)
        try:
            host, port = server.sockets[0].getsockname()
            await script(transfers, f"http://{host}:{port}/")
        finally:
            await transfers.aclose()
            server.close()
        return made

    return asyncio.run(asyncio.wait_for(main(), 20))


def test_a_connection_serves_call_after_call() -> None:
    async def script(transfers: Transfers, url: str) -> None:
        curl, received = handle(url)
        for _ in range(10):
            await transfers.perform(curl)
        assert received == [b"ok"] * 10

    assert play(script, answers=10) == 1


def test_a_connection_that_was_closed_while_nobody_used_it_is_made_anew() -> None:
    async def script(transfers: Transfers, url: str) -> None:
        curl, received = handle(url)
        for _ in range(10):
            await transfers.perform(curl)
        assert received == [b"ok"] * 10

    assert play(script, answers=1) == 10


def test_a_connection_that_was_closed_does_not_keep_the_loop_busy() -> None:
    async def script(transfers: Transfers, url: str) -> None:
        curl, _ = handle(url)
        await transfers.perform(curl)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert transfers._epoll.poll(0) == []

    assert play(script, answers=1) == 1


def test_a_call_that_outlasts_its_time_ends_though_a_later_one_is_under_way() -> None:
    """The timer is set for the one that ends first, whichever began first."""

    async def script(transfers: Transfers, url: str) -> None:
        long, short = (handle(url, TIMEOUT_MS=ms)[0] for ms in (60_000, 200))
        waiting = asyncio.create_task(transfers.perform(long))
        with pytest.raises(pycurl.error) as caught:
            await transfers.perform(short)
        assert caught.value.args[0] == pycurl.E_OPERATION_TIMEDOUT
        waiting.cancel()

    async def silent(transfers: Transfers, url: str) -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        await script(transfers, f"http://{host}:{port}/")
        server.close()

    play(silent, answers=0)


def test_calls_under_way_are_given_up_when_the_driver_is_closed() -> None:
    waiting: list[asyncio.Task[None]] = []

    async def script(transfers: Transfers, url: str) -> None:
        waiting.append(asyncio.create_task(transfers.perform(handle(url)[0])))
        await asyncio.sleep(0)

    play(script, answers=1)
    assert waiting[0].cancelled()
