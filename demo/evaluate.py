"""Exact match of the GGUF model through llama.cpp: `python evaluate.py MODEL.gguf`.

Decodes greedily with the xllamacpp wheel; pairs are decoded under a JSON schema. Ends with status 1
if the share of exact answers is below --at-least.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import data
import xllamacpp
from prompts import held_out, recipe_message
from tasks import Sample

KEYS = ("question", "explanation", "answer")
SCHEMA = {
    "type": "object",
    "properties": {key: {"type": "string"} for key in KEYS},
    "required": list(KEYS),
    "additionalProperties": False,
}
Case = tuple[str, Sample]


@dataclass
class Reply:
    """What the model made of one case."""

    sample: Sample
    message: str
    text: str
    cut_off: bool
    tokens: int

    def is_exact(self) -> bool:
        """The very text, or for pairs the very object with its keys in order."""
        if self.sample.job == "reformat":
            return self.text == self.sample.answer
        wanted: dict[str, str] = json.loads(self.sample.answer)
        found = parsed(self.text)
        return found is not None and list(found.items()) == list(wanted.items())


def parsed(text: str) -> dict[str, Any] | None:
    """The JSON object with exactly the three keys, if the text is one."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and set(value) == set(KEYS) else None


def shipped(count: int, seed: int) -> list[Case]:
    """The first rows of the shipped demonstration data."""
    cases = [(recipe_message(sample, note=True), sample) for sample in data.samples()]
    random.Random(seed).shuffle(cases)
    return cases[:count]


def start_server(model: Path, threads: int) -> xllamacpp.Server:
    """llama.cpp with this model."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = 4096
    params.n_parallel = 4
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.warmup = False
    params.verbosity = -1
    return xllamacpp.Server(params)


def ask(server: xllamacpp.Server, case: Case, limit: int, schema: bool) -> Reply:
    """One greedy answer."""
    message, sample = case
    request: dict[str, Any] = {
        "messages": [{"role": "user", "content": message}],
        "max_tokens": limit,
        "temperature": 0,
    }
    if schema and sample.job == "pair":
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "pair", "schema": SCHEMA},
        }
    response: Any = server.handle_chat_completions(request)
    choice = response["choices"][0]
    return Reply(
        sample,
        message,
        choice["message"]["content"],
        choice["finish_reason"] == "length",
        response["usage"]["completion_tokens"],
    )


def share(hits: list[bool]) -> str:
    """Hits of all, and in per cent."""
    return f"{sum(hits)}/{len(hits)} = {100 * sum(hits) / max(1, len(hits)):.1f} %"


def report(replies: list[Reply], seconds: float, misses: int) -> float:
    """Print the figures; returns the share of exact answers."""
    groups: dict[str, list[bool]] = defaultdict(list)
    for reply in replies:
        groups[reply.sample.job].append(reply.is_exact())
        groups[f"  {reply.sample.job}: {reply.sample.kind}"].append(reply.is_exact())
    exact = [reply.is_exact() for reply in replies]
    print(f"exact: {share(exact)}")
    for name in sorted(groups, key=lambda name: (name.strip(), name)):
        print(f"{name}: {share(groups[name])}")
    pairs = [reply for reply in replies if reply.sample.job == "pair"]
    print(f"valid JSON: {share([parsed(reply.text) is not None for reply in pairs])}")
    print(f"cut off at the limit: {sum(reply.cut_off for reply in replies)}")
    tokens = sum(reply.tokens for reply in replies)
    print(f"{tokens} answer tokens in {seconds:.1f} s = {tokens / seconds:.0f} tokens/s")
    for reply in [reply for reply in replies if not reply.is_exact()][:misses]:
        print(f"asked  {reply.message!r}\nwanted {reply.sample.answer!r}\ngot    {reply.text!r}\n")
    return sum(exact) / max(1, len(exact))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--set", choices=("held-out", "shipped"), default="held-out")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--limit", type=int, default=320, help="tokens of one answer")
    parser.add_argument("--free", action="store_true", help="pairs without a JSON schema")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--misses", type=int, default=0, help="how many wrong answers to show")
    parser.add_argument("--at-least", type=float, default=0.0, help="per cent that must be exact")
    args = parser.parse_args()
    cases = (held_out if args.set == "held-out" else shipped)(args.count, args.seed)
    server = start_server(args.model, args.threads)
    started = time.monotonic()
    replies = [ask(server, case, args.limit, not args.free) for case in cases]
    exact = report(replies, time.monotonic() - started, args.misses)
    return int(100 * exact < args.at_least)


if __name__ == "__main__":
    raise SystemExit(main())
