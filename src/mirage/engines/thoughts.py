"""What a model thinks aloud before it answers is no part of the answer."""

from __future__ import annotations

THINKS = (
    "the model thinks before it answers, and choices are scored without that; turn it off with "
    "extra_body: {chat_template_kwargs: {enable_thinking: false}}"
)


def opening(prompt: str) -> str:
    """The beginning of the answer that a chat template has written already."""
    return "<think>\n" if prompt.rstrip().endswith("<think>") else ""


def spoken(text: str) -> str:
    """The answer without the thoughts before it, as a chat endpoint gives it."""
    if not text.lstrip().startswith("<think>"):
        return text
    return text.partition("</think>")[2].lstrip()
