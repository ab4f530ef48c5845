"""The prompt as SGLang and vLLM take it in this process: tokens, or a text beside pictures.

The model's own chat template is applied, with record text kept as text: strings that stand for one
of the tokenizer's own tokens (`<|im_end|>`, `<image>`) are cut out before, and go in as the tokens
of their letters afterwards. Beside pictures both engines may read the prompt as one text again:
there a zero-width space after the first letter keeps such a string from being a token.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from mirage.engines.thoughts import opening
from mirage.errors import EngineError, boundary
from mirage.record import Message

ZERO_WIDTH = "\u200b"
SENTINEL = "qsentinelq"
AS_DATA = re.compile("""['"]type['"]""")
"""A list of parts that a template, made for texts alone, has printed as it is."""
Turns = list[dict[str, Any]]


class Prompt(Struct, frozen=True):
    """`text` reads as `ids` where nothing was cut out of it, as beside pictures; `opening` is the
    beginning of the answer that the template has written already.
    """

    ids: list[int]
    text: str
    opening: str = ""

    def followed_by(self, text: str, tokens: list[int]) -> Prompt:
        return replace(self, ids=self.ids + tokens, text=self.text + text)


class Cut:
    """What was cut out of the record text of one prompt."""

    def __init__(self) -> None:
        self._mark = f"q{secrets.token_hex(12)}q"
        self._texts: list[str] = []

    def placeholder(self, found: re.Match[str]) -> str:
        self._texts.append(found[0])
        return f"{self._mark}{len(self._texts) - 1}q"

    def pieces(self, text: str) -> Iterator[tuple[str, bool]]:
        """A rendered prompt in pieces; true where a piece is to be spelled."""
        split = re.split(f"{self._mark}(\\d+)q", text) if self._texts else [text]
        for number, piece in enumerate(split):
            if piece:
                yield (self._texts[int(piece)], True) if number % 2 else (piece, False)


class Tokens:
    """Text to tokens. `control` finds the strings that stand for one of the tokenizer's own."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._own = {*tokenizer.get_added_vocab().values()}
        names = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
        longest = sorted((n for n in names if len(n.strip()) > 1), key=len, reverse=True)
        self.control = re.compile("|".join(map(re.escape, longest)) or "(?!)")
        self._letters: dict[str, list[int]] = {}

    def of(self, text: str, cut: Cut) -> list[int]:
        found: list[int] = []
        for piece, spelled in cut.pieces(text):
            found += self._spelled(piece) if spelled else self._encoded(piece)
        return found

    def _spelled(self, text: str) -> list[int]:
        """The tokens of a string's letters, none of them the tokenizer's own."""
        if text not in self._letters:
            tokens = self._encoded(text, split_special_tokens=True)
            if {*tokens} & self._own:
                tokens = [token for letter in text for token in self._encoded(letter)]
            self._letters[text] = tokens
        return self._letters[text]

    def _encoded(self, text: str, **options: bool) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, **options)["input_ids"])


class Prompts:
    """`render` applies the chat template to turns, whose content is a text or a list of parts.

    `images` says whether the template has a place for them. Not made for several threads. Raises
    EngineError where the template cannot be used.
    """

    def __init__(self, tokenizer: Any, render: Callable[[Turns], str]) -> None:
        self._render = render
        self._tokens = Tokens(tokenizer)
        text = {"type": "text", "text": SENTINEL}
        plain, parts = self._tried(SENTINEL), self._tried([text])
        self._in_parts = plain is None
        if plain is None and parts is None:
            raise EngineError("prompt", "the chat template leaves the prompt's text out")
        image = self._tried([{"type": "image"}, text])
        self.images = image is not None and image != parts

    def build(self, messages: Sequence[Message]) -> Prompt:
        cut = Cut()
        pictures = any(message.pictures for message in messages)
        change = hidden if pictures else cut.placeholder
        shown = partial(self._tokens.control.sub, change)
        turns = [self._turn(message, shown) for message in messages]
        with boundary(EngineError, "prompt"):
            text = self._render(turns)
            ids = self._tokens.of(text, cut)
        return Prompt(ids, text, opening(text))

    def choice(self, text: str) -> list[int]:
        """The tokens of an answer."""
        cut = Cut()
        if not (tokens := self._tokens.of(self._tokens.control.sub(cut.placeholder, text), cut)):
            raise EngineError("choices", "an empty choice has no probability", attempts=1)
        return tokens

    def _turn(self, message: Message, shown: Callable[[str], str]) -> dict[str, Any]:
        if not message.pictures and not self._in_parts:
            return {"role": message.role, "content": shown(message.text)}
        content = [
            {"type": "text", "text": shown(part)} if isinstance(part, str) else {"type": "image"}
            for part in message.parts
        ]
        return {"role": message.role, "content": content}

    def _tried(self, content: Any) -> str | None:
        """How the template shows a turn; None where its text is left out, or it cannot."""
        try:
            shown = self._render([{"role": "user", "content": content}])
        except Exception:  # noqa: BLE001 - a template raises what it likes
            return None
        return shown if SENTINEL in shown and not AS_DATA.search(shown) else None


def hidden(found: re.Match[str]) -> str:
    return found[0][0] + ZERO_WIDTH + found[0][1:]
