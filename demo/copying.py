"""Initial weights with which the model copies text before it has been trained at all.

Layer 0: head j looks exactly j + 1 tokens back and notes a short code of the token there.
Layer 1: half of the heads look for the place whose preceding tokens carry the same codes as the
current token and those before it, and predict the token that stands there.
Upper-case letters share the code of their small letter, and list separators share one code.
"""

from __future__ import annotations

import math

import tokenizer
import torch
import torch.nn.functional as functional
from model import Llama, rotary_tables, rotate
from torch import Tensor, nn

CODE = 48
CONSTANT = CODE
NOTE = 16
CASE_SHARE = 0.5
CONSTANT_SIZE = 0.3
NOTE_SIZE = 0.5
LOOK_BACK = 14.0
MATCH = 1.0
COPY = 1.0
SCORE = 1.5


def _orthogonal(rows: int, columns: int) -> Tensor:
    size = max(rows, columns)
    square: Tensor = torch.linalg.qr(torch.randn(size, size))[0]
    return square[:rows, :columns]


def token_codes() -> Tensor:
    """One unit vector per token; related tokens get related vectors."""
    codes = functional.normalize(torch.randn(tokenizer.SIZE, CODE), dim=1)
    upper = functional.normalize(torch.randn(CODE), dim=0)
    for letter in range(ord("a"), ord("z") + 1):
        small = codes[tokenizer.FIRST_BYTE + letter]
        codes[tokenizer.FIRST_BYTE + letter - 32] = small + CASE_SHARE * upper
    for group in (tokenizer.INPUT_SEPARATORS, tokenizer.OUTPUT_SEPARATORS):
        for piece in group:
            codes[tokenizer.encode(piece)[0]] += 1.5 * upper.roll(1)
    return functional.normalize(codes, dim=1)


def _random_start(model: Llama) -> None:
    hidden, inner = model.shape.hidden, model.shape.feed_forward
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    for block in model.layers():
        nn.init.normal_(block.output.weight, std=0.02 * hidden**-0.5)
        nn.init.normal_(block.down.weight, std=0.02 * inner**-0.5)


def _note_slot(head: int) -> slice:
    start = CONSTANT + 1 + head * NOTE
    return slice(start, start + NOTE)


def _output_slot(model: Llama) -> slice:
    start = CONSTANT + 1 + model.shape.heads * NOTE
    return slice(start, min(start + CODE, model.shape.hidden))


def _write_embeddings(model: Llama, codes: Tensor) -> None:
    slot = _output_slot(model)
    nn.init.normal_(model.embedding.weight, std=0.01)
    model.embedding.weight[:, :CODE] = codes
    model.embedding.weight[:, CONSTANT] = CONSTANT_SIZE
    nn.init.normal_(model.scores.weight, std=0.02)
    model.scores.weight[:, slot] = SCORE * codes[:, : slot.stop - slot.start]


def _write_look_back(model: Llama, note: Tensor) -> None:
    shape = model.shape
    block = model.layers()[0]
    rms = math.sqrt((1 + CONSTANT_SIZE**2) / shape.hidden)
    gain = math.sqrt(LOOK_BACK * math.sqrt(shape.head)) * rms / CONSTANT_SIZE
    fast = torch.zeros(1, shape.head)
    fast[0, : shape.head // 8] = 1.0
    block.query.weight.mul_(0.1)
    block.key.weight.mul_(0.1)
    for head in range(shape.heads):
        rows = slice(head * shape.head, (head + 1) * shape.head)
        cosine, sine = rotary_tables(head + 2, shape.head, shape.rope_base)
        block.query.weight[rows, CONSTANT] = gain * fast[0]
        turned = rotate(fast, cosine[head + 1], sine[head + 1])
        block.key.weight[rows, CONSTANT] = gain * turned[0]
        kept = slice(rows.start, rows.start + NOTE)
        block.value.weight[kept] = 0
        block.value.weight[kept, :CODE] = note
        block.output.weight[_note_slot(head)] = 0
        block.output.weight[_note_slot(head), kept] = (
            NOTE_SIZE * rms / math.sqrt(NOTE / CODE) * torch.eye(NOTE)
        )


def _write_match(model: Llama, note: Tensor) -> None:
    shape = model.shape
    block = model.layers()[1]
    slot = _output_slot(model)
    width = slot.stop - slot.start
    pairs = shape.rope_base ** (-torch.arange(0, shape.head, 2).float() / shape.head)
    slow = [index for index in range(shape.head) if pairs[index % (shape.head // 2)] < 0.008]
    total = 1 + CONSTANT_SIZE**2 + shape.heads * NOTE_SIZE**2
    rms = math.sqrt(total / shape.hidden)
    copiers = shape.heads // 2
    for head in range(copiers):
        rows = slice(head * shape.head, (head + 1) * shape.head)
        block.query.weight[rows] = 0
        block.key.weight[rows] = 0
        for back in range(shape.heads):
            mix = torch.zeros(shape.head, NOTE)
            mix[slow] = _orthogonal(len(slow), NOTE)
            scale = MATCH * rms / NOTE_SIZE * math.sqrt(3 * math.sqrt(shape.head))
            block.key.weight[rows, _note_slot(back)] += scale * mix
            if back:
                block.query.weight[rows, _note_slot(back - 1)] += scale * mix
            else:
                own = NOTE_SIZE / math.sqrt(NOTE / CODE)
                block.query.weight[rows, :CODE] += scale * own * mix @ note
        carried = _orthogonal(shape.head, width)
        block.value.weight[rows] = 0
        block.value.weight[rows, :width] = carried * rms
        gain = COPY * width / (shape.head * copiers)
        block.output.weight[:, rows] = 0
        block.output.weight[slot, rows] = gain * carried.T


@torch.no_grad()
def write_copying(model: Llama, codes: Tensor | None = None) -> None:
    """Fill a new model with the initial weights; `codes` are one unit vector per token."""
    _random_start(model)
    note = _orthogonal(NOTE, CODE)
    _write_embeddings(model, token_codes() if codes is None else codes)
    _write_look_back(model, note)
    _write_match(model, note)
