"""What a user might write by hand: workers over one iterator of rows, JSON lines out as they come.

No retries, no journal, no order, no validation. uvloop and orjson throughout; `--client` chooses
who speaks HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import uvloop

HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer none"}
TIMEOUT = 60.0
HEAD = "Rewrite the following conversation as one well-formed paragraph. Keep every fact.\n\n"

Call = Callable[[bytes], Awaitable[tuple[int, bytes]]]
Close = Callable[[], Awaitable[Any]]


def open_aiohttp(url: str) -> tuple[Call, Close]:
    import aiohttp

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=TIMEOUT)
    )

    async def call(body: bytes) -> tuple[int, bytes]:
        async with session.post(url, data=body, headers=HEADERS) as response:
            return response.status, await response.read()

    return call, session.close


def open_pyreqwest(url: str) -> tuple[Call, Close]:
    from pyreqwest.client import ClientBuilder

    client = ClientBuilder().default_headers(HEADERS).build()

    async def call(body: bytes) -> tuple[int, bytes]:
        response = await client.post(url).body_bytes(body).build().send()
        return response.status, bytes(await response.bytes())

    return call, client.close


def open_raw(url: str) -> tuple[Call, Close]:
    from raw import Pool

    pool = Pool(url, HEADERS)
    return pool.post, pool.close


CLIENTS = {"aiohttp": open_aiohttp, "pyreqwest": open_pyreqwest, "raw": open_raw}


def rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".jsonl":
        with path.open("rb") as file:
            yield from map(orjson.loads, file)
    else:
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(64):
            yield from batch.to_pylist()


def content(row: dict[str, Any]) -> Any:
    if "question" not in row:
        turns = row["conversations"]
        return HEAD + "\n".join(f"[{turn['role']}]: {turn['content']}" for turn in turns)
    data = row["image"] if "image" in row else Path(row["path"]).read_bytes()
    url = "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
    return [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": row["question"]},
    ]


def request(row: dict[str, Any]) -> bytes:
    messages = [{"role": "user", "content": content(row)}]
    payload = {"model": "mock", "messages": messages, "temperature": 0.0, "max_tokens": 512}
    return orjson.dumps(payload)


def finished(row: dict[str, Any], reply: bytes) -> bytes:
    done = {"id": row["id"], "text": orjson.loads(reply)["choices"][0]["message"]["content"]}
    if "conversations" in row:
        done["conversations"] = row["conversations"]
    return orjson.dumps(done, option=orjson.OPT_APPEND_NEWLINE)


async def run(args: argparse.Namespace) -> None:
    call, close = CLIENTS[args.client](args.url)
    source = rows(args.input)

    with args.output.open("wb") as output:

        async def worker() -> None:
            for row in source:
                status, reply = await call(request(row))
                if status != 200:
                    raise RuntimeError(f"status {status}")
                output.write(finished(row, reply))

        await asyncio.gather(*(worker() for _ in range(args.in_flight)))
    await close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", choices=CLIENTS, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    args = parser.parse_args()
    uvloop.run(run(args))


if __name__ == "__main__":
    main()
