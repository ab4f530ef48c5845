"""A small Llama in PyTorch whose first two layers start out able to copy text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The sizes of the model."""

    vocabulary: int
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    feed_forward: int = 448
    context: int = 1024
    rope_base: float = 1e7
    epsilon: float = 1e-5

    @property
    def head(self) -> int:
        """The width of one attention head."""
        return self.hidden // self.heads


def rotary_tables(length: int, head: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of rotary position embedding, in the rotate-half layout."""
    frequencies = base ** (-torch.arange(0, head, 2).float() / head)
    angles = torch.arange(length).float()[:, None] * frequencies
    return torch.cat([angles, angles], 1).cos(), torch.cat([angles, angles], 1).sin()


def rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn queries or keys by their position."""
    first, second = states.chunk(2, -1)
    return states * cosine + torch.cat([-second, first], -1) * sine


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention to earlier positions, spelled out: for short texts on a CPU that is faster."""
    shape = query.shape
    query, key, value = (part.reshape(-1, *shape[2:]).to(value) for part in (query, key, value))
    future = torch.full((shape[2], shape[2]), -1e9, dtype=query.dtype).triu(1)
    weights = torch.baddbmm(future, query, key.mT, alpha=shape[3] ** -0.5).softmax(-1)
    return weights.to(value).bmm(value).view(shape)


class Norm(nn.Module):
    """Root-mean-square normalisation."""

    def __init__(self, hidden: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))
        self.epsilon = epsilon

    def forward(self, states: Tensor) -> Tensor:
        shape = list(self.weight.shape)
        return functional.rms_norm(states, shape, self.weight, self.epsilon)


class Block(nn.Module):
    """One layer: attention, then a gated feed-forward network."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        hidden, inner = shape.hidden, shape.feed_forward
        self.heads = shape.heads
        self.attention_norm = Norm(hidden, shape.epsilon)
        self.feed_forward_norm = Norm(hidden, shape.epsilon)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.value = nn.Linear(hidden, hidden, bias=False)
        self.output = nn.Linear(hidden, hidden, bias=False)
        self.gate = nn.Linear(hidden, inner, bias=False)
        self.up = nn.Linear(hidden, inner, bias=False)
        self.down = nn.Linear(inner, hidden, bias=False)

    def attend(self, states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Add what the heads read from earlier positions."""
        batch, length, hidden = states.shape
        normed = self.attention_norm(states)
        query, key, value = (
            part(normed).view(batch, length, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        read = causal_attention(rotate(query, cosine, sine), rotate(key, cosine, sine), value)
        added: Tensor = self.output(read.transpose(1, 2).reshape(batch, length, hidden))
        return states + added

    def transform(self, states: Tensor) -> Tensor:
        """Add what the feed-forward network makes of each position."""
        normed = self.feed_forward_norm(states)
        added: Tensor = self.down(functional.silu(self.gate(normed)) * self.up(normed))
        return states + added


class Llama(nn.Module):
    """Token ids to scores of the next token."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.hidden)
        self.blocks = nn.ModuleList([Block(shape) for _ in range(shape.layers)])
        self.norm = Norm(shape.hidden, shape.epsilon)
        self.scores = nn.Linear(shape.hidden, shape.vocabulary, bias=False)
        cosine, sine = rotary_tables(shape.context, shape.head, shape.rope_base)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def layers(self) -> list[Block]:
        """The layers, from the first to the last."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward(self, tokens: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Scores at every position, or only at the `wanted` ones, as one flat list."""
        return self.continued(self.embedding(tokens), wanted)

    def continued(self, states: Tensor, wanted: Tensor | None = None) -> Tensor:
        """The same from embeddings, which need not all be of tokens."""
        cosine, sine = self.cosine[: states.shape[1]], self.sine[: states.shape[1]]
        for number, block in enumerate(self.layers(), 1):
            states = block.attend(states, cosine, sine)
            if wanted is not None and number == len(self.blocks):
                states = states[wanted]
            states = block.transform(states)
        scores: Tensor = self.scores(self.norm(states))
        return scores
