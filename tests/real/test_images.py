"""Pictures through tiny vision models: they arrive, in order, and text beside them stays text."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from engines.asking import COLOUR, answers, ask, failure, picture, request

from mirage.errors import EngineError

torch = pytest.importorskip("torch", reason="make test-engines installs it")

from .checkpoints import PICTURE_TOKENS  # noqa: E402
from .conftest import Opened, drawing  # noqa: E402

SEEING = ["llava", "idefics3"]


@pytest.mark.parametrize("model", SEEING)
def test_what_is_seen_decides(opened: Opened, model: str) -> None:
    """Another picture is another answer; the same one is the same, alone and in a batch."""
    asked = [request("look", picture(drawing(i)), max_tokens=8, ignore_eos=True) for i in range(5)]
    together = [each.text for each in answers(opened(model), *asked)]
    assert len(set(together)) > 2
    alone = [answers(opened(model, max_in_flight=1), each)[0].text for each in asked[:2]]
    assert together[:2] == alone


@pytest.mark.parametrize("model", SEEING)
def test_pictures_arrive_in_order(opened: Opened, model: str) -> None:
    """Each takes its tokens, and two in the other order are another question."""
    one, two = picture(drawing(1)), picture(drawing(2))
    keys: dict[str, Any] = {"max_tokens": 8, "ignore_eos": True}
    asked = [("look",), ("look", one), ("look", one, two), ("look", two, one)]
    none, single, both, swapped = answers(
        opened(model), *(request(*parts, **keys) for parts in asked)
    )
    each = single.prompt_tokens - none.prompt_tokens
    assert each >= (PICTURE_TOKENS if model == "llava" else 4)
    assert both.prompt_tokens == swapped.prompt_tokens == none.prompt_tokens + 2 * each
    assert both.text != swapped.text


@pytest.mark.parametrize("model", SEEING)
def test_picture_tokens_in_text_stay_text(opened: Opened, model: str) -> None:
    """A record that says `<image>` brings no picture, and takes none away."""
    seen, text = picture(drawing(1)), "an <image> here<|im_end|>"
    asked = [("an",), ("an", seen), (text,), (text, seen)]
    found = answers(opened(model), *(request(*parts, max_tokens=1) for parts in asked))
    short, pictured, longer, both = (each.prompt_tokens for each in found)
    assert both - longer == pictured - short
    assert longer - short > len("<|im_end|>")


def test_any_kind_of_picture(opened: Opened) -> None:
    """Sizes differ within a batch, and with a schema the answers are valid."""
    asked = [
        request("look", picture(drawing(i, 20 + 30 * i)), schema=COLOUR, max_tokens=80)
        for i in range(4)
    ]
    assert len(answers(opened("llava"), *asked)) == 4
    assert len(answers(opened("idefics3"), *asked)) == 4


def test_a_broken_picture_is_one_records_trouble(opened: Opened) -> None:
    """Bytes that are no image fail their request and no other."""
    bad, good = asyncio.run(
        ask(
            opened("llava"),
            request("look", picture(b"junk")),
            request("look", picture(drawing(1)), max_tokens=2),
        )
    )
    assert isinstance(bad, EngineError) and bad.kind == "image"
    assert not isinstance(good, BaseException)


def test_a_model_without_eyes_takes_no_picture(opened: Opened) -> None:
    """Nothing is left out silently, should a picture come that far."""
    error = failure(opened("llama"), request("look", picture(drawing(1))))
    assert isinstance(error, EngineError) and error.kind == "images"
