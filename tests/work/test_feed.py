"""The feed: each record to one who asks, however many ask, and an end for all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from mirage.errors import RunError
from mirage.record import Record
from mirage.work.feed import Feed
from mirage.work.owed import Batch, BlockRun, Owed


def block_run() -> BlockRun:
    return BlockRun(cast(Any, None), cast(Any, None), cast(Any, None))


def batch(run: BlockRun, first: int, count: int, *, last: bool = False) -> Batch:
    records = [Record(f"0/a#{n}", b"", {}) for n in range(first, first + count)]
    return Batch(run, [Owed(run, n, record, None) for n, record in enumerate(records, first)], last)


@pytest.mark.parametrize("askers", [1, 3, 64])
def test_every_record_goes_to_one_who_asks(askers: int) -> None:
    """In order, and at the end everybody is told so; a block with nothing owed is settled."""
    run, empty = block_run(), block_run()
    settled: list[BlockRun] = []

    async def all_taken() -> list[int]:
        batches = [batch(run, 0, 20), batch(run, 20, 1), Batch(empty, [], last=True)]
        feed = Feed(iter([*batches, batch(run, 21, 30, last=True)]), settled.append)
        taken: list[int] = []

        async def worker() -> None:
            while (owed := await feed.take()) is not None:
                taken.append(owed.position)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            group.create_task(feed.supply())
            for _ in range(askers):
                group.create_task(worker())
        await feed.close()
        return taken

    assert asyncio.run(all_taken()) == list(range(51))
    assert (run.owed, run.read) == (51, True)
    assert settled == [empty]


def test_no_more_than_one_batch_is_read_ahead() -> None:
    """Who asks for nothing gets nothing read: memory stays bounded."""
    run, read = block_run(), list[int]()

    def batches() -> Iterator[Batch]:
        for number in range(100):
            read.append(number)
            yield batch(run, number, 1)

    async def taken(count: int) -> list[int]:
        feed = Feed(batches(), lambda run: None)
        supply = asyncio.create_task(feed.supply())
        for _ in range(count):
            await feed.take()
        await asyncio.sleep(0.1)
        await feed.close()
        await supply
        return read

    assert asyncio.run(taken(5)) == list(range(6))


def test_a_source_that_breaks_ends_the_group() -> None:
    """The error is told once, and those who wait are let go."""

    def batches() -> Iterator[Batch]:
        yield batch(block_run(), 0, 1)
        raise RunError("the source broke")

    async def broken() -> None:
        feed = Feed(batches(), lambda run: None)

        async def worker() -> None:
            while await feed.take() is not None:
                pass

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(feed.supply())
                for _ in range(3):
                    group.create_task(worker())
        finally:
            await feed.close()

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(broken())
    assert [str(error) for error in caught.value.exceptions] == ["the source broke"]


def test_whoever_waits_is_let_go_at_a_stop() -> None:
    """What was read and not handed out stays owed."""
    go_on = threading.Event()

    def batches() -> Iterator[Batch]:
        assert go_on.wait(10)
        yield batch(block_run(), 0, 5)

    async def stopped() -> list[Owed | None]:
        feed = Feed(batches(), lambda run: None)
        supply = asyncio.create_task(feed.supply())
        waiting = [asyncio.create_task(feed.take()) for _ in range(3)]
        await asyncio.sleep(0)
        feed.stop()
        got = [await each for each in waiting]
        go_on.set()
        await feed.close()
        await supply
        return [*got, await feed.take()]

    assert asyncio.run(stopped()) == [None] * 4


def test_nothing_is_read_once_the_feed_is_closed() -> None:
    """Not even where whoever waited for a batch was cancelled, and its thread reads on."""
    reading, go_on, ends = threading.Event(), threading.Event(), list[str]()

    def batches() -> Iterator[Batch]:
        reading.set()
        assert go_on.wait(10)
        ends.append("read")
        yield from ()

    async def closed() -> list[str]:
        feed = Feed(batches(), lambda run: None)
        supply = asyncio.create_task(feed.supply())
        await asyncio.to_thread(reading.wait)
        supply.cancel()
        await asyncio.wait({supply})
        asyncio.get_running_loop().call_later(0.2, go_on.set)
        await feed.close()
        return [*ends]

    assert asyncio.run(closed()) == ["read"]
