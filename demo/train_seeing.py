"""Train the model that sees on drawings made here: `python train_seeing.py OUT`.

OUT gets checkpoint.pt (a later run with the same OUT goes on from it) and curve.csv. First the eyes
alone learn to label patches; then everything learns to write captions.
"""

from __future__ import annotations

import argparse
import csv
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lessons
import numpy as np
import torch
import torch.nn.functional as functional
from captions import TOKENS
from lessons import Lesson, draw_lesson, draw_practice
from muon import Muon
from numpy.typing import NDArray
from padding import pixels
from patches import CLASSES, COUNTS, count_label, patch_labels, strange_labels
from pieces import ANSWER_OPEN, CONTROL, EOS, PAD, USER_OPEN
from seeing import IMAGE_TOKENS, Seeing, standard_shapes
from torch import Tensor, nn

IGNORED = -100
EMPTY = {"blank", "gradient"}
# letters are what the eyes learn last
WEIGHTS = (2, 2, 1, 1, 3, 1)
NOTES = 12
IMAGE = [-1] * IMAGE_TOKENS
COLUMNS = ("step", "minutes", "labels", "loss", "exact")


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=2980)
    parser.add_argument("--alone", type=int, default=1100, help="steps of the eyes alone")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.01, help="Muon's learning rate")
    parser.add_argument("--adam-rate", type=float, default=0.0015)
    parser.add_argument("--decay", type=float, default=0.13, help="share of the steps that decays")
    parser.add_argument("--every", type=int, default=100, help="steps between evaluations")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def conversation(lesson: Lesson, text_first: bool = False) -> tuple[list[int], int]:
    """The tokens of prompt and answer, and how many of them come before the answer."""
    ask = TOKENS.encode
    if text_first:
        before = ask(USER_OPEN + lesson.prompt) + IMAGE + ask(ANSWER_OPEN)
    else:
        before = ask(USER_OPEN) + IMAGE + ask(lesson.prompt + ANSWER_OPEN)
    return before + ask(lesson.answer + EOS), len(before)


def practice(rng: random.Random) -> tuple[list[int], int]:
    """The same of a long note to be copied, without a picture."""
    prompt, caption, note = draw_practice(rng)
    before = TOKENS.encode(USER_OPEN + prompt + ANSWER_OPEN + caption)
    return before + TOKENS.encode(note + EOS), len(before)


def collate(rows: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
    """Inputs and wanted next tokens; only answers are wanted."""
    length = max(len(tokens) for tokens, _ in rows) - 1
    inputs = torch.full((len(rows), length), CONTROL.index(PAD))
    wanted = torch.full((len(rows), length), IGNORED)
    for index, (tokens, before) in enumerate(rows):
        inputs[index, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        wanted[index, before - 1 : len(tokens) - 1] = torch.tensor(tokens[before:])
    return inputs, wanted


def pictures(batch: list[Lesson]) -> Tensor:
    """All pictures of a batch, as the model gets them."""
    return torch.from_numpy(np.stack([pixels(lesson.image) for lesson in batch]))


def labels_of(lesson: Lesson) -> tuple[NDArray[np.int64], int]:
    """What the eyes are to say of each patch, and of the whole."""
    count = count_label(lesson.drawing)
    if lesson.drawing is None:
        return strange_labels(lesson.kind in EMPTY), count
    return patch_labels(lesson.drawing), count


class Heads(nn.Module):
    """One linear reading of each patch for each kind of label, and one of the whole picture."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.patch = nn.Linear(hidden, sum(CLASSES))
        self.whole = nn.Linear(hidden, COUNTS)

    def loss(self, seen: Tensor, batch: list[Lesson]) -> tuple[Tensor, float]:
        """The loss of all readings, and the share of the asked labels that is right."""
        told = [labels_of(lesson) for lesson in batch]
        labels = torch.from_numpy(np.stack([grid for grid, _ in told]))
        counts = torch.tensor([count for _, count in told])
        total = 0.3 * functional.cross_entropy(self.whole(seen.mean(1)), counts)
        hits = asked = 0
        for index, scores in enumerate(self.patch(seen).split(CLASSES, -1)):
            wanted = labels[..., index]
            shown = wanted > (0 if index < 2 else -1)
            if shown.any():
                flat = functional.cross_entropy(scores.flatten(0, 1), wanted.flatten())
                total = total + flat * WEIGHTS[index]
                hits += int((scores.argmax(-1) == wanted)[shown].sum())
                asked += int(shown.sum())
        return total, hits / max(1, asked)


class Run:
    """A model, its optimisers and how far they have come."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        torch.manual_seed(args.seed)
        self.shapes = standard_shapes()
        self.model = Seeing(*self.shapes)
        self.heads = Heads(self.shapes[0].hidden)
        blocks = [*self.model.eyes.blocks.parameters(), *self.model.language.blocks.parameters()]
        inner = [p for p in blocks if p.ndim == 2]
        known = {*inner}
        sides: list[tuple[float, list[nn.Module]]] = [
            (1.0, [self.model.eyes, self.heads]),
            (2.0, [self.model.inner, self.model.outer, self.model.language]),
        ]
        outer = [
            {
                "params": [p for m in modules for p in m.parameters() if p not in known],
                "share": share,
            }
            for share, modules in sides
        ]
        adam = torch.optim.AdamW(outer, args.adam_rate, (0.9, 0.98), weight_decay=0.0)
        self.optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (Muon(inner, args.rate, precision=torch.float32), args.rate),
            (adam, args.adam_rate),
        ]
        self.step, self.minutes, self.loss, self.labels = 0, 0.0, 0.0, 0.0

    @property
    def checkpoint(self) -> Path:
        """Where the run is saved."""
        path: Path = self.args.out / "checkpoint.pt"
        return path

    def save(self) -> None:
        """Write the checkpoint in one go."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "shapes": [asdict(shape) for shape in self.shapes],
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
            "progress": (self.step, self.minutes, self.loss, self.labels),
        }
        draft = self.checkpoint.with_suffix(".draft")
        torch.save(state, draft)
        draft.replace(self.checkpoint)

    def load(self) -> None:
        """Go on from the checkpoint."""
        state = torch.load(self.checkpoint)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        for (optimizer, _), saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.minutes, self.loss, self.labels = state["progress"]

    def rate_share(self) -> float:
        """Warm-up over 50 steps, in both halves; then constant; then a line to one per cent."""
        warm = self.step - self.args.alone if self.step >= self.args.alone else self.step
        left = (self.args.steps - self.step) / max(1.0, self.args.decay * self.args.steps)
        return min(1.0, (warm + 1) / 50, max(0.01, left))

    def learn(self, rng: random.Random) -> None:
        """Take one training step."""
        now = self.rate_share()
        for optimizer, rate in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * now * group.get("share", 1.0)
        alone = self.step < self.args.alone
        batch = [draw_lesson(rng) for _ in range(self.args.batch)]
        seen = self.model.eyes(pictures(batch))
        loss, right = self.heads.loss(seen, batch)
        if not alone:
            said = self.spoken(seen, [conversation(each, rng.random() < 0.1) for each in batch])
            copied = self.copied([practice(rng) for _ in range(NOTES)])
            loss = said + 0.2 * loss + 0.5 * copied
            value = said.item()
            self.loss = value if not self.loss else 0.98 * self.loss + 0.02 * value
        loss.backward()  # type: ignore[no-untyped-call]
        for part in (self.model.eyes, self.model.language):
            torch.nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        for optimizer, _ in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        self.labels = right if self.step == 1 else 0.98 * self.labels + 0.02 * right

    def spoken(self, seen: Tensor, rows: list[tuple[list[int], int]]) -> Tensor:
        """The loss of the answers; short and long conversations apart, so that less is padding."""
        order = sorted(range(len(rows)), key=lambda index: len(rows[index][0]))
        half = len(rows) // 2
        scores, told = [], []
        for part in (order[:half], order[half:]):
            inputs, wanted = collate([rows[index] for index in part])
            answers = wanted != IGNORED
            scores.append(self.model.scores(seen[part], inputs, answers))
            told.append(wanted[answers])
        return functional.cross_entropy(torch.cat(scores), torch.cat(told))

    def copied(self, rows: list[tuple[list[int], int]]) -> Tensor:
        """The loss of notes without a picture."""
        inputs, wanted = collate(rows)
        answers = wanted != IGNORED
        return functional.cross_entropy(self.model.language(inputs, answers), wanted[answers])

    def report(self, count: int) -> None:
        """Evaluate, print and add a line to the curve."""
        exact = exact_answers(self.model, count) if self.step > self.args.alone else 0.0
        values = (
            self.step, f"{self.minutes:.2f}", f"{self.labels:.4f}",
            f"{self.loss:.4f}", f"{exact:.4f}",
        )  # fmt: skip
        path = self.args.out / "curve.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([COLUMNS, values] if new else [values])
        print(dict(zip(COLUMNS, values, strict=True)), flush=True)


@torch.no_grad()
def exact_answers(model: Seeing, count: int) -> float:
    """The share of held-out lessons with every next token of the answer right."""
    right = 0
    found = lessons.held_out(count * 4 // 5, 1) + lessons.held_out_strange(count // 5, 1)
    for start in range(0, count, 20):
        batch = found[start : start + 20]
        inputs, wanted = collate([conversation(lesson) for lesson in batch])
        scores = model.scores(model.eyes(pictures(batch)), inputs)
        right += int(((scores.argmax(-1) == wanted) | (wanted == IGNORED)).all(1).sum())
    return right / count


def main() -> None:
    """Train until the last step."""
    args = options()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    args.out.mkdir(parents=True, exist_ok=True)
    run = Run(args)
    if run.checkpoint.exists():
        run.load()
    rng = random.Random(args.seed * 1_000_003 + run.step)
    while run.step < args.steps:
        started = time.monotonic()
        run.learn(rng)
        run.minutes += (time.monotonic() - started) / 60
        if run.step % args.every == 0 or run.step == args.steps:
            run.report(100 if run.step < args.steps else 300)
            run.save()


if __name__ == "__main__":
    main()
