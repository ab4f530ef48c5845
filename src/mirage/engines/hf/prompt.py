"""The prompt as tokens: the model's own chat template, with record text kept as text.

A string of the record that stands for one of the tokenizer's own tokens (`<image>`, `<|im_end|>`)
is replaced by a placeholder before the template is applied, and goes in as the tokens of its
letters afterwards. A processor, which puts a picture's tokens where the template wants them, is
given a stand-in for its tokenizer that does the same.
"""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from mirage.engines.pixels import upright
from mirage.engines.thoughts import opening
from mirage.errors import ConfigError, EngineError, Mistake, boundary
from mirage.record import Message


class Prompt(Struct, frozen=True):
    """`ids` end where the answer begins; `opening` is the beginning of the answer that the
    template has written already. `extras` are the tensors that the pictures became.
    """

    ids: list[int]
    opening: str = ""
    extras: Mapping[str, Any] = {}


class Shield:
    """For one prompt: what was cut out of record text, and where it stood."""

    def __init__(self, control: re.Pattern[str]) -> None:
        self._control = control
        self._mark = f"q{secrets.token_hex(12)}q"
        self._cut: list[str] = []

    def text(self, text: str) -> str:
        """Record text with a placeholder for each string that stands for a token."""
        return self._control.sub(self._placeholder, text)

    def pieces(self, text: str) -> Iterator[tuple[int, str, str]]:
        """A rendered prompt: where a piece starts, its text, and, in place of that, what is to be
        spelled.
        """
        at = 0
        for found in re.finditer(f"{self._mark}(\\d+)q", text) if self._cut else ():
            yield at, text[at : found.start()], self._cut[int(found[1])]
            at = found.end()
        yield at, text[at:], ""

    def _placeholder(self, found: re.Match[str]) -> str:
        self._cut.append(found[0])
        return f"{self._mark}{len(self._cut) - 1}q"


class Encoded(Struct):
    """Tokens, and where in the text each one stood."""

    ids: list[int] = []
    spans: list[tuple[int, int]] = []

    def append(self, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> None:
        self.ids += ids
        self.spans += spans


class Speller:
    """Text to tokens. `control` finds the strings that stand for one of the tokenizer's own."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._own = {*tokenizer.get_added_vocab().values()}
        self._letters: dict[str, list[int]] = {}
        names = {name for name in tokenizer.get_added_vocab() if len(name.strip()) > 1}
        names |= {token for token in tokenizer.all_special_tokens if token.strip()}
        longest = sorted(names, key=len, reverse=True)
        self.control = re.compile("|".join(map(re.escape, longest)) or "(?!)")

    def encoded(self, text: str, shield: Shield) -> Encoded:
        found = Encoded()
        for at, plain, cut in shield.pieces(text):
            if plain:
                asked = self._tokenizer(
                    plain, add_special_tokens=False, return_offsets_mapping=True
                )
                spans = [(at + start, at + stop) for start, stop in asked["offset_mapping"]]
                found.append(asked["input_ids"], spans)
            if cut:
                letters = self._spelled(cut)
                found.append(letters, [(at + len(plain),) * 2] * len(letters))
        return found

    def _spelled(self, text: str) -> list[int]:
        """The tokens of a string's letters, none of them the tokenizer's own."""
        if text not in self._letters:
            tokens = self._encode(text)
            if {*tokens} & self._own and len(text) > 1:
                tokens = [token for letter in text for token in self._encode(letter)]
            self._letters[text] = tokens
        return self._letters[text]

    def _encode(self, text: str) -> list[int]:
        asked = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return list(asked["input_ids"])


class StandIn:
    """A processor's tokenizer for one prompt. All but the call is the real tokenizer's."""

    def __init__(self, tokenizer: Any, encode: Callable[[str], Encoded]) -> None:
        self._real, self._encode = tokenizer, encode

    def __call__(self, text: Any, **_: Any) -> EncodedBatch:
        return EncodedBatch(list(map(self._encode, [text] if isinstance(text, str) else text)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class EncodedBatch(dict[str, list[list[int]]]):
    """What processors take of a tokenizer's answer."""

    def __init__(self, rows: Sequence[Encoded]) -> None:
        masks = [[1] * len(row.ids) for row in rows]
        super().__init__(input_ids=[row.ids for row in rows], attention_mask=masks)
        self._rows = rows

    def char_to_token(self, row: int, char: int) -> int | None:
        """The token that a character of a text went into."""
        spans = self._rows[row].spans
        return next((i for i, (start, stop) in enumerate(spans) if start <= char < stop), None)


class Prompts:
    """Builds prompts, one at a time: the tokenizer is not made for several threads.

    Raises ConfigError where there is no chat template, or the one that is given is none.
    """

    def __init__(
        self, tokenizer: Any, processor: Any, template: str | None, options: Mapping[str, Any]
    ) -> None:
        self._tokenizer, self._processor = tokenizer, processor
        self._speaker = processor or tokenizer
        own = getattr(processor, "chat_template", None) or tokenizer.chat_template
        if template is None and own is None:
            message = "the model has no chat template: give one, as text or as a file"
            raise ConfigError([Mistake("chat_template", message)])
        self._template, self._options = template or own, options
        self._speller = Speller(tokenizer)
        if template is not None:
            try:
                self.build([Message("user", ("hello",))])
            except EngineError as error:
                raise ConfigError([Mistake("chat_template", error.message)]) from error

    def build(self, messages: Sequence[Message]) -> Prompt:
        shield = Shield(self._speller.control)
        pictures = [picture for message in messages for picture in message.pictures]
        if pictures and self._processor is None:
            raise EngineError("images", "this model takes no images", attempts=1)
        turns = [{"role": m.role, "content": self._content(m, shield)} for m in messages]
        with boundary(EngineError, "prompt"):
            text = self._speaker.apply_chat_template(
                turns,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=True,
                **self._options,
            )

        def encode(text: str) -> Encoded:
            return self._begun(text, self._speller.encoded(text, shield))

        if not pictures:
            return Prompt(encode(text).ids, opening(text))
        images = [upright(picture) for picture in pictures]
        with boundary(EngineError, "prompt"):
            processor = copy.copy(self._processor)
            processor.tokenizer = StandIn(self._tokenizer, encode)
            made = dict(processor(text=[text], images=[images], return_tensors="pt"))
        ids = made.pop("input_ids")[0].tolist()
        made.pop("attention_mask", None)
        return Prompt(ids, opening(text), {k: v for k, v in made.items() if hasattr(v, "shape")})

    def choice(self, text: str) -> list[int]:
        """The tokens of an answer."""
        shield = Shield(self._speller.control)
        tokens = self._speller.encoded(shield.text(text), shield).ids
        if not tokens:
            raise EngineError("choices", "an empty choice has no probability", attempts=1)
        return tokens

    def _content(self, message: Message, shield: Shield) -> Any:
        if self._processor is None:
            return shield.text(message.text)
        return [
            {"type": "text", "text": shield.text(part)}
            if isinstance(part, str)
            else {"type": "image"}
            for part in message.parts
        ]

    def _begun(self, text: str, encoded: Encoded) -> Encoded:
        """With the token that begins a text, where a processor would put it and the template has
        not: templates of models that see often leave it to the tokenizer.
        """
        first, number = self._tokenizer.bos_token, self._tokenizer.bos_token_id
        if self._processor is None or not first or text.startswith(first):
            return encoded
        if self._tokenizer("")["input_ids"][:1] != [number]:
            return encoded
        return Encoded([number, *encoded.ids], [(0, 0), *encoded.spans])
