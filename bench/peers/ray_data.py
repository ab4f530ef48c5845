"""The same job on Ray Data, as documented: `map_batches` with an asynchronous actor,
or the HTTP processor of `ray.data.llm`.

    ray_data.py {map_batches,llm} --url URL --input FILE --output FOLDER --in-flight N --workers N
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import ray

MODEL, TOKENS, BATCH = "mock", 512, 16


def body(text: str) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": TOKENS}


class Ask:
    """An actor that keeps so many calls in flight; Ray Data alone would start all of a block."""

    def __init__(self, url: str, in_flight: int) -> None:
        self.url = url
        self.session: Any = None
        self.room = asyncio.Semaphore(in_flight)

    async def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import aiohttp

        if self.session is None:
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        answers = await asyncio.gather(*map(self.ask, batch["q"]))
        return {"q": batch["q"], "a": answers}

    async def ask(self, text: str) -> str:
        async with self.room, self.session.post(self.url, json=body(text)) as reply:
            reply.raise_for_status()
            found = await reply.json()
        return str(found["choices"][0]["message"]["content"])


def map_batches(rows: Any, url: str, in_flight: int, workers: int) -> Any:
    return rows.map_batches(
        Ask,
        fn_constructor_args=(url, in_flight),
        batch_size=BATCH,
        concurrency=workers,
        num_cpus=1,
        max_concurrency=in_flight // BATCH,
    )


def llm(rows: Any, url: str, in_flight: int, workers: int) -> Any:
    from ray.data.llm import HttpRequestProcessorConfig, build_processor

    config = HttpRequestProcessorConfig(
        url=url, qps=None, concurrency=workers, batch_size=in_flight, max_retries=3
    )
    processor = build_processor(
        config,
        preprocess=lambda row: {"payload": body(row["q"]), "q": row["q"]},
        postprocess=lambda row: {
            "q": row["q"],
            "a": row["http_response"]["choices"][0]["message"]["content"],
        },
    )
    return processor(rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=("map_batches", "llm"))
    parser.add_argument("--url", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--in-flight", type=int, required=True, help="of each worker")
    parser.add_argument("--workers", type=int, required=True)
    args = parser.parse_args()
    ray.init(
        address="local", include_dashboard=False, logging_level="ERROR", num_cpus=args.workers + 2
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    rows = ray.data.read_json(args.input, lines=True)
    way = map_batches if args.way == "map_batches" else llm
    way(rows, args.url, args.in_flight, args.workers).write_json(f"local://{args.output}")


if __name__ == "__main__":
    main()
