"""Engines in this process against the bare loop that one would write by hand.

    .venv/bin/python -m bench.local [--rounds 5] [--only transformers llamacpp]

The model is a random one, so what counts is tokens per second: every answer has the same length.
Both sides are loaded once and take turns; a ratio is formed within a round, and the median over the
rounds is shown. It needs what `make test-engines` installs.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
REQUESTS, TOKENS, SLOTS = 96, 48, 4
TARGET = 0.95
Side = Callable[[], int]


def prompts() -> list[str]:
    return [
        f"Question {i}: " + "what is the capital of France? " * (1 + i % 5) for i in range(REQUESTS)
    ]


@contextmanager
def engine_side(backend: str, model: Path, **keys: Any) -> Iterator[Side]:
    """All prompts at once, through the engine and its window; returns how many tokens came."""
    from mirage.config.models import EngineConfig
    from mirage.engines import open_engine
    from mirage.record import Message, Request

    sampling = {"temperature": 0.0, "max_tokens": TOKENS, "ignore_eos": True}
    asked = [Request("m", (Message("user", (text,)),), sampling) for text in prompts()]
    config = EngineConfig(model_path=str(model), **keys)
    engine = open_engine(config, backend=backend, name="engine", base=Path())

    async def one(request: Request) -> int:
        async with engine.window:
            return (await engine.complete(request)).completion_tokens

    async def every() -> int:
        return sum(await asyncio.gather(*map(one, asked)))

    with asyncio.Runner() as runner:
        runner.run(engine.start())
        try:
            yield lambda: runner.run(every())
        finally:
            runner.run(engine.close())


@contextmanager
def bare_transformers(model: Path, args: dict[str, Any]) -> Iterator[Side]:
    """Template, `generate_batch`, text: with the cache and the step that the engine has."""
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        ContinuousBatchingConfig,
        GenerationConfig,
    )

    speaker = AutoTokenizer.from_pretrained(model)
    bare = AutoModelForCausalLM.from_pretrained(model).to(args["device"]).eval()
    greedy = GenerationConfig(
        do_sample=False, max_new_tokens=TOKENS, eos_token_id=-1, pad_token_id=speaker.pad_token_id
    )
    shape = {"num_blocks": args["num_blocks"], "max_batch_tokens": args["max_batch_tokens"]}
    shape |= {"page_size": 32, "use_async_batching": False, "use_cuda_graph": False}

    def loop() -> int:
        ids = [
            speaker.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
            )["input_ids"]
            for text in prompts()
        ]
        done = bare.generate_batch(
            ids,
            generation_config=greedy,
            continuous_batching_config=ContinuousBatchingConfig(**shape),
            progress_bar=False,
            warmup=False,
        )
        written = [each.generated_tokens for each in done.values()]
        for tokens in written:
            speaker.decode(tokens, skip_special_tokens=True)
        return sum(map(len, written))

    yield loop


@contextmanager
def bare_llamacpp(model: Path) -> Iterator[Side]:
    """llama.cpp's server and one connection for each slot, kept open."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_parallel, params.n_ctx = str(model), SLOTS, SLOTS * 1024
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http, params.port, params.verbosity = SLOTS + 2, 0, -1
    params.ui = params.endpoint_slots = params.warmup = False
    params.cache_ram_mib = 0
    server = xllamacpp.Server(params)
    address = urlsplit(server.listening_address)

    def take(texts: Iterator[str]) -> int:
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        count = 0
        for text in texts:
            body = {"messages": [{"role": "user", "content": text}], "temperature": 0.0}
            body |= {"max_tokens": TOKENS, "ignore_eos": True}
            connection.request("POST", "/v1/chat/completions", json.dumps(body))
            count += json.loads(connection.getresponse().read())["usage"]["completion_tokens"]
        connection.close()
        return count

    def loop() -> int:
        queue = iter(prompts())  # threads take from it in turn
        with ThreadPoolExecutor(SLOTS) as pool:
            return sum(pool.map(take, [queue] * SLOTS))

    yield loop


def compete(name: str, rounds: int, sides: dict[str, Side]) -> None:
    speeds: dict[str, list[float]] = {side: [] for side in sides}
    for side in sides.values():
        side()  # what is made once is made now
    for number in range(rounds):
        for side in list(sides)[:: -1 if number % 2 else 1]:
            began = time.perf_counter()
            tokens = sides[side]()
            if tokens != REQUESTS * TOKENS:
                raise SystemExit(f"bench: {name}: {side} wrote {tokens} tokens")
            speeds[side].append(tokens / (time.perf_counter() - began))
    ours, bare = speeds["engine"], speeds["bare"]
    ratio = median(a / b for a, b in zip(ours, bare, strict=True))
    verdict = "met" if ratio >= TARGET else "**missed**"
    print(f"| {name} | {median(ours):,.0f} | {median(bare):,.0f} | {ratio:.2f} | {verdict} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.local", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=("transformers", "llamacpp"))
    given = parser.parse_args()
    only = given.only or ["transformers", "llamacpp"]
    sys.path.insert(0, str(ROOT))
    import torch

    from tests.real.checkpoints import write_llama
    from tests.real.gguf_copy import write_language_model

    torch.set_num_threads(1)
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{REQUESTS} requests of {TOKENS} tokens, median of {given.rounds} rounds, {load}\n")
    print("| engine | tokens/s | bare loop, tokens/s | ratio | ≥ 0.95 |\n|---|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory() as place:
        model = write_llama(Path(place) / "model", hidden=256, layers=4)
        if "transformers" in only:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            args = {"device": device, "num_blocks": 512, "max_batch_tokens": 256}
            args |= {"continuous": True, "batch": REQUESTS}
            both = {"transformers, continuous": args}
            both["transformers, batches"] = {**args, "continuous": False}
            for name, way in both.items():
                with (
                    engine_side("transformers", model, args=way, max_in_flight=REQUESTS) as engine,
                    bare_transformers(model, args) as bare,
                ):
                    compete(name, given.rounds, {"engine": engine, "bare": bare})
        if "llamacpp" in only:
            file = write_language_model(model, Path(place) / "model.gguf")
            keys = {"max_in_flight": SLOTS, "args": {"threads": 1, "context": 1024}}
            with engine_side("llamacpp", file, **keys) as engine, bare_llamacpp(file) as bare:
                compete("llamacpp", given.rounds, {"engine": engine, "bare": bare})


if __name__ == "__main__":
    main()
