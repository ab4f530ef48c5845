"""Shapes of datasets that models are trained on: each a pair of `read` and `write` around one
neutral sample.

    instruction.py   the sample
    shape.py         what a format is, what it holds, what is lost; a row being read
    tags.py          texts with <image> tags
    messages.py      the neutral row
    wanted.py        what columns alone tell of a row
    one file per format

This module is the one factory. Where rows are kept (lines, an array, a table, an archive) is the
matter of `sources` and `sinks`; a shape is a matter of one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

from mirage.formats.shape import Shape

SHAPES = {
    "messages": "mirage.formats.messages:Messages",
    "trl": "mirage.formats.trl:Trl",
    "trl-preference": "mirage.formats.trl:TrlPreference",
    "axolotl": "mirage.formats.axolotl:Axolotl",
    "openai": "mirage.formats.openai:OpenAI",
    "a-okvqa": "mirage.formats.a_okvqa:AOKVQA",
    "sharegpt": "mirage.formats.sharegpt:Sharegpt",
    "alpaca": "mirage.formats.alpaca:Alpaca",
    "ms-swift": "mirage.formats.swift:Swift",
    "llava": "mirage.formats.llava:Llava",
    "qwen-vl": "mirage.formats.qwen_vl:QwenVl",
    "mimic-it": "mirage.formats.mimicit:MimicIt",
}
"""By name. A row is recognised by the first of these that claims it, `messages` being the last."""


@lru_cache
def shape(name: str) -> Shape:
    """The training format of this name. Raises KeyError."""
    module, _, kind = SHAPES[name].partition(":")
    made: Shape = getattr(import_module(module), kind)()
    return made


def recognise(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """The one format that claims all of some rows, or all of those messages that are not of text
    alone, which many formats share. None where they are of no training format.
    """
    from mirage.formats.messages import is_text

    names = [name for name in SHAPES if name != "messages"]
    rows = list(rows)
    for some in (rows, [row for row in rows if not is_text(row)]):
        for name in names if some else ():
            if all(shape(name).claims(row) for row in some):
                return name
    return "messages" if rows and all(shape("messages").claims(row) for row in rows) else None
