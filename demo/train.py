"""Train the demonstration model on generated samples: `python train.py OUT`.

OUT gets checkpoint.pt (a later run with the same OUT goes on from it) and curve.csv.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tokenizer
import torch
import torch.nn.functional as functional
from batches import IGNORED, collate, row, training_batches
from copying import write_copying
from model import Llama, Shape
from muon import Muon
from prompts import held_out

COLUMNS = ("step", "minutes", "tokens", "loss", "exact", "exact_reformat", "exact_pair")


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--tokens", type=int, default=4000, help="tokens in one step")
    parser.add_argument("--rate", type=float, default=0.007, help="Muon's learning rate")
    parser.add_argument("--adam-rate", type=float, default=0.002)
    parser.add_argument("--decay", type=float, default=0.5, help="share of the steps that decays")
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--feed-forward", type=int, default=448)
    parser.add_argument("--every", type=int, default=250, help="steps between evaluations")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def rate_share(step: int, steps: int, decay: float) -> float:
    """Warm-up over 50 steps, then constant, then a straight line to one per cent."""
    left = (steps - step) / max(1.0, decay * steps)
    return min(1.0, (step + 1) / 50, max(0.01, left))


@torch.no_grad()
def exact_matches(model: Llama, count: int) -> tuple[float, float]:
    """The share of held-out samples with every next token right, for each job.

    That is what greedy decoding would reproduce to the letter.
    """
    right: dict[str, list[bool]] = {"reformat": [], "pair": []}
    samples = sorted(held_out(count, seed=1), key=lambda entry: len(entry[0]))
    for start in range(0, count, 20):
        chunk = samples[start : start + 20]
        inputs, wanted = collate([row(message, sample) for message, sample in chunk])
        hits = (model(inputs).argmax(-1) == wanted) | (wanted == IGNORED)
        for (_, sample), hit in zip(chunk, hits.all(1).tolist(), strict=True):
            right[sample.job].append(hit)
    return tuple(sum(hits) / len(hits) for hits in right.values())  # type: ignore[return-value]


class Run:
    """A model, its optimisers and how far they have come."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        torch.manual_seed(args.seed)
        self.shape = Shape(tokenizer.SIZE, args.hidden, args.layers, args.heads, args.feed_forward)
        self.model = Llama(self.shape)
        write_copying(self.model)
        matrices = {p for p in self.model.blocks.parameters() if p.ndim == 2}
        inner = [p for p in self.model.parameters() if p in matrices]
        outer = [p for p in self.model.parameters() if p not in matrices]
        adam = torch.optim.AdamW(outer, args.adam_rate, (0.9, 0.98), weight_decay=0.0)
        self.optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (Muon(inner, args.rate), args.rate),
            (adam, args.adam_rate),
        ]
        self.step, self.seen, self.minutes, self.loss = 0, 0, 0.0, 0.0

    @property
    def checkpoint(self) -> Path:
        """Where the run is saved."""
        path: Path = self.args.out / "checkpoint.pt"
        return path

    def save(self) -> None:
        """Write the checkpoint in one go."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "shape": asdict(self.shape),
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
            "progress": (self.step, self.seen, self.minutes, self.loss),
        }
        draft = self.checkpoint.with_suffix(".draft")
        torch.save(state, draft)
        draft.replace(self.checkpoint)

    def load(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(self.checkpoint)
        self.model.load_state_dict(state["model"])
        for (optimizer, _), saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seen, self.minutes, self.loss = state["progress"]

    def learn(self, inputs: torch.Tensor, wanted: torch.Tensor) -> None:
        """Take one training step."""
        share = rate_share(self.step, self.args.steps, self.args.decay)
        for optimizer, rate in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * share
        answers = wanted != IGNORED
        with torch.autocast("cpu", torch.bfloat16):
            scores = self.model(inputs, answers)
        loss = functional.cross_entropy(scores.float(), wanted[answers])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, _ in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.seen += inputs.numel()
        self.loss = loss.item() if self.step == 1 else 0.98 * self.loss + 0.02 * loss.item()

    def report(self, count: int) -> None:
        """Evaluate, print and add a line to the curve."""
        reformat, pair = exact_matches(self.model, count)
        values = (
            self.step, f"{self.minutes:.2f}", self.seen, f"{self.loss:.4f}",
            f"{(reformat + pair) / 2:.4f}", f"{reformat:.4f}", f"{pair:.4f}",
        )  # fmt: skip
        path = self.args.out / "curve.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([COLUMNS, values] if new else [values])
        print(dict(zip(COLUMNS, values, strict=True)), flush=True)


def main() -> None:
    """Train until the last step."""
    args = options()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    args.out.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    if run.checkpoint.exists():
        run.load()
    stream = training_batches(random.Random(args.seed * 1_000_003 + run.step), args.tokens)
    while run.step < args.steps:
        started = time.monotonic()
        run.learn(*next(stream))
        run.minutes += (time.monotonic() - started) / 60
        if run.step % args.every == 0 or run.step == args.steps:
            run.report(200 if run.step < args.steps else 500)
            run.save()


if __name__ == "__main__":
    main()
