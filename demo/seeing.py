"""The model that sees: a vision transformer, a projector, and the text model's kind of Llama.

A picture becomes 64 states, which stand in the prompt where its marker was.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from captions import TOKENS
from copying import write_copying
from model import Llama, Shape
from padding import GRID, PATCH
from torch import Tensor, nn

IMAGE_TOKENS = GRID * GRID


@dataclass(frozen=True)
class EyeShape:
    """The sizes of the vision transformer."""

    hidden: int = 128
    layers: int = 4
    heads: int = 4
    feed_forward: int = 384
    epsilon: float = 1e-6


class EyeBlock(nn.Module):
    """Attention among all patches, then a feed-forward network."""

    def __init__(self, shape: EyeShape) -> None:
        super().__init__()
        hidden = shape.hidden
        self.heads = shape.heads
        self.ln1 = nn.LayerNorm(hidden, shape.epsilon)
        self.ln2 = nn.LayerNorm(hidden, shape.epsilon)
        self.attn_q = nn.Linear(hidden, hidden)
        self.attn_k = nn.Linear(hidden, hidden)
        self.attn_v = nn.Linear(hidden, hidden)
        self.attn_out = nn.Linear(hidden, hidden)
        self.ffn_up = nn.Linear(hidden, shape.feed_forward)
        self.ffn_down = nn.Linear(shape.feed_forward, hidden)
        for part in (self.attn_out, self.ffn_down):
            nn.init.normal_(part.weight, std=0.02)

    def forward(self, states: Tensor) -> Tensor:
        normed = self.ln1(states)
        parts = (part(normed) for part in (self.attn_q, self.attn_k, self.attn_v))
        heads = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = functional.scaled_dot_product_attention(*heads)
        states = states + self.attn_out(seen.transpose(1, 2).flatten(2))
        inner = functional.gelu(self.ffn_up(self.ln2(states)), approximate="tanh")
        added: Tensor = self.ffn_down(inner)
        return states + added


class Eyes(nn.Module):
    """Pictures (n, 128, 128, 3) of bytes to states (n, 64, hidden)."""

    def __init__(self, shape: EyeShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch = nn.Linear(3 * PATCH * PATCH, shape.hidden)
        self.position = nn.Parameter(torch.randn(IMAGE_TOKENS, shape.hidden) * 0.1)
        self.blocks = nn.ModuleList([EyeBlock(shape) for _ in range(shape.layers)])

    def forward(self, pictures: Tensor) -> Tensor:
        values = pictures.float() / 127.5 - 1
        patches = values.view(-1, GRID, PATCH, GRID, PATCH, 3).permute(0, 1, 3, 5, 2, 4)
        states = self.patch(patches.reshape(-1, IMAGE_TOKENS, 3 * PATCH * PATCH)) + self.position
        for block in self.blocks:
            states = block(states)
        return states


class Seeing(nn.Module):
    """Pictures and tokens to scores of the next token."""

    def __init__(self, eyes: EyeShape, language: Shape) -> None:
        super().__init__()
        self.eyes = Eyes(eyes)
        self.inner = nn.Linear(eyes.hidden, language.hidden)
        self.outer = nn.Linear(language.hidden, language.hidden)
        self.language = Llama(language)
        codes = functional.normalize(torch.randn(TOKENS.size, 48), dim=1)
        write_copying(self.language, codes)
        nn.init.normal_(self.outer.weight, std=0.1 * language.hidden**-0.5)

    def project(self, seen: Tensor) -> Tensor:
        """What the eyes saw, as states of the language model."""
        inner = functional.gelu(self.inner(seen), approximate="tanh")
        states: Tensor = self.outer(inner)
        return states

    def scores(self, seen: Tensor, tokens: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Scores of the next token; a token below 0 stands for one state of the picture."""
        states = self.language.embedding(tokens.clamp(min=0))
        states = states.masked_scatter((tokens < 0)[..., None], self.project(seen))
        return self.language.continued(states, wanted)


def standard_shapes() -> tuple[EyeShape, Shape]:
    """The sizes of the shipped model."""
    return EyeShape(), Shape(TOKENS.size, hidden=160, layers=4, heads=5, feed_forward=384)
