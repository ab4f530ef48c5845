"""Training batches: fresh samples for ever, grouped by length so that little is padding."""

from __future__ import annotations

import random
from collections.abc import Iterator

import tokenizer
import torch
from draws import draw
from prompts import varied_message
from tasks import Sample
from torch import Tensor

IGNORED = -100
GROUP = 512
Row = tuple[list[int], int]


def row(message: str, sample: Sample) -> Row:
    """The tokens of one conversation, and how many of them come before the answer."""
    before = tokenizer.encode(tokenizer.conversation(message))
    return before + tokenizer.encode(sample.answer + tokenizer.EOS), len(before)


def collate(rows: list[Row]) -> tuple[Tensor, Tensor]:
    """Inputs and wanted next tokens; only answers are wanted."""
    length = max(len(tokens) for tokens, _ in rows) - 1
    length += -length % 8
    inputs = torch.full((len(rows), length), tokenizer.PAD_ID)
    wanted = torch.full((len(rows), length), IGNORED)
    for index, (tokens, before) in enumerate(rows):
        inputs[index, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        wanted[index, before - 1 : len(tokens) - 1] = torch.tensor(tokens[before:])
    return inputs, wanted


def _batches(rows: list[Row], tokens: int) -> list[list[Row]]:
    batches: list[list[Row]] = [[]]
    for entry in sorted(rows, key=lambda entry: len(entry[0])):
        if len(entry[0]) * (len(batches[-1]) + 1) > tokens:
            batches.append([])
        batches[-1].append(entry)
    return [batch for batch in batches if batch]


def training_batches(rng: random.Random, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """An endless stream of batches of about `tokens` tokens."""
    while True:
        rows: list[Row] = []
        for _ in range(GROUP):
            sample = draw(rng)
            rows.append(row(varied_message(sample, rng), sample))
        batches = _batches(rows, tokens)
        rng.shuffle(batches)
        for batch in batches:
            yield collate(batch)
