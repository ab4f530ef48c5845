"""The prompt that llama.cpp completes: the model's own template, with record text kept as text.

The server reads a rendered template with control tokens on, wherever they come from: a record that
holds `<|im_end|>` would end its turn. Such strings are therefore replaced by placeholders before
the template is applied; afterwards the prompt is a list of template text and, for each
placeholder, the tokens of the string's letters. Next to pictures the server takes no such list:
there a zero-width space after the first letter keeps the string from being a token.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from mirage.engines.llama.loopback import Loopback
from mirage.engines.thoughts import opening
from mirage.record import Message, Part, Picture

ZERO_WIDTH = "\u200b"
STAND_IN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


class PromptBuilder:
    """`control` are the strings that stand for control tokens, `marker` is where a picture goes,
    and `options` go along to the template.
    """

    def __init__(self, control: Iterable[str], marker: str, options: Mapping[str, Any]) -> None:
        found = sorted({*control, marker}, key=len, reverse=True)
        self._control = re.compile("|".join(re.escape(text) for text in found))
        self._options = options
        self._letters: dict[str, list[int]] = {}

    def build(self, server: Loopback, messages: Sequence[Message]) -> tuple[Any, str]:
        """The prompt as `/completion` takes it, and the opening of the answer that it holds."""
        pictures = [picture for message in messages for picture in message.pictures]
        mark = f"q{secrets.token_hex(12)}q"
        cut: list[str] = []

        def placeholder(found: re.Match[str]) -> str:
            cut.append(found[0])
            return f"{mark}{len(cut) - 1}q"

        def shielded(text: str) -> str:
            if pictures:
                return self._control.sub(lambda m: m[0][0] + ZERO_WIDTH + m[0][1:], text)
            return self._control.sub(placeholder, text)

        turns = [{"role": m.role, "content": _content(m.parts, shielded)} for m in messages]
        body = orjson.dumps({"messages": turns, **self._options})
        text: str = server.post("/apply-template", body)["prompt"]
        if pictures:
            shown = [_base64(picture) for picture in pictures]
            return {"prompt_string": text, "multimodal_data": shown}, opening(text)
        if not cut:
            return text, opening(text)
        pieces: list[str | int] = []
        for i, piece in enumerate(re.split(f"{mark}(\\d+)q", text)):
            if i % 2:
                pieces += self._spelled(server, cut[int(piece)])
            elif piece:
                pieces.append(piece)
        return pieces, opening(text)

    def _spelled(self, server: Loopback, text: str) -> list[int]:
        """The tokens of a string's letters."""
        if text not in self._letters:
            asked = {"content": text, "parse_special": False, "add_special": False}
            tokens: list[int] = server.post("/tokenize", orjson.dumps(asked))["tokens"]
            self._letters[text] = tokens
        return self._letters[text]


def _content(parts: Sequence[Part], shielded: Callable[[str], str]) -> Any:
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) == len(parts):
        return shielded("".join(texts))
    return [
        {"type": "text", "text": shielded(part)} if isinstance(part, str) else STAND_IN
        for part in parts
    ]


def _base64(picture: Picture) -> orjson.Fragment:
    return orjson.Fragment(b'"' + binascii.b2a_base64(picture.data, newline=False) + b'"')
