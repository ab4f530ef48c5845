"""Choices: the same weights through llama.cpp and through transformers give the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
from engines.asking import answers, picture, request
from msgspec.structs import replace

torch = pytest.importorskip("torch", reason="make test-engines installs it")

from .conftest import Opened, drawing  # noqa: E402

pytestmark = pytest.mark.real

CHOICES = ("Paris", "the capital of France", "<|im_end|>", "été 😀 日本", "{")


def choosing(*parts: Any) -> Any:
    return replace(request(*parts), choices=CHOICES)


def near(numbers: Any) -> Any:
    """Of sums over up to 23 tokens: llama.cpp's cache is of half precision."""
    return pytest.approx(numbers, abs=0.02, rel=0.002)


@pytest.mark.parametrize("question", ["hello", "a<|im_end|>b", "été 😀"])
def test_the_same_numbers(opened: Opened, llamacpp: Opened, question: str) -> None:
    """Control tokens in a choice are text to both, and letters of several tokens are counted."""
    (ours,) = answers(opened("llama"), choosing(question))
    (theirs,) = answers(llamacpp("llama"), choosing(question))
    assert ours.logprobs == near(theirs.logprobs)
    assert ours.text == theirs.text


def test_the_same_numbers_beside_a_picture(opened: Opened, llamacpp: Opened) -> None:
    """Pictures change the numbers, and alike."""
    asked = [choosing("look", picture(drawing(number))) for number in (1, 2)]
    ours = [each.logprobs for each in answers(opened("llava"), *asked)]
    theirs = [each.logprobs for each in answers(llamacpp("llava"), *asked)]
    for one, other in zip(ours, theirs, strict=True):
        told = [(a, b) for a, b in zip(one, other, strict=True) if b is not None]
        assert len(told) >= 4
        assert [a for a, _ in told] == near([b for _, b in told])
    assert ours[0] != ours[1]
