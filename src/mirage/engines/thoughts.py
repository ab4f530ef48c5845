"""What a model thinks aloud before it answers is no part of the answer."""

from __future__ import annotations


def spoken(text: str) -> str:
    """The answer without the thoughts before it, as a chat endpoint gives it."""
    if not text.lstrip().startswith("<think>"):
        return text
    return text.partition("</think>")[2].lstrip()
