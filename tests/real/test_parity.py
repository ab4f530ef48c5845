"""The same weights through llama.cpp and through transformers say the same."""

from __future__ import annotations

import pytest
from engines.asking import answers, picture, request

torch = pytest.importorskip("torch", reason="make test-engines installs it")

from .conftest import Opened, drawing  # noqa: E402

CLEAR = (1, 2, 3, 5, 8, 9, 10)
"""Drawings whose answers hold no near ties: llama.cpp's cache is of half precision."""
QUESTIONS = ["hello", "What is the capital of France?", '{"a": 1}', "a<|im_end|>b", "été 😀"]


def test_greedy_text_is_the_same(opened: Opened, llamacpp: Opened) -> None:
    """Token by token, control tokens in the record's text included."""
    asked = [request(text, max_tokens=16) for text in QUESTIONS]
    ours, theirs = answers(opened("clear"), *asked), answers(llamacpp("clear"), *asked)
    assert [each.prompt_tokens for each in ours] == [each.prompt_tokens for each in theirs]
    assert [each.text for each in ours] == [each.text for each in theirs]


def test_pictures_are_seen_alike(opened: Opened, llamacpp: Opened) -> None:
    """The tower's every block is used, and the picture stands at the same place."""
    asked = [request("look", picture(drawing(i)), max_tokens=8) for i in CLEAR]
    ours = [each.text for each in answers(opened("clear-llava"), *asked)]
    theirs = [each.text for each in answers(llamacpp("clear-llava"), *asked)]
    assert ours == theirs and len(set(ours)) > 3
