"""How likely llama.cpp's model would write a given text, exactly.

The server tells the log-probability of every token that it writes, before anything constrains it. A
grammar of single tokens lets it write the text and nothing else, so the sum over these tokens is
the text's own. The prompt stays in the slot's cache from one text to the next.

Of a token that ends within a letter (UTF-8 of several bytes) the server tells nothing. It is then
looked for among the alternatives to another token in its place.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import accumulate, compress
from typing import Any

import orjson
from msgspec import Struct

from mirage.engines.llama.loopback import Loopback
from mirage.errors import EngineError
from mirage.record import Completion

FIELDS = ["completion_probabilities", "tokens_evaluated"]
ALTERNATIVES = (50, 5_000, 10_000_000)
LEAST = -1e30
LONG = ("the", "    ", "a")


class Forced(Struct, frozen=True):
    """Texts after one prompt; `options` go along with every request."""

    server: Loopback
    prompt: Any
    options: Mapping[str, Any]

    def logprob(self, text: str) -> tuple[float | None, int, int]:
        """The text's log-probability, the tokens of the prompt, and the text's own."""
        pieces = self._tokens(text)
        tokens = [token for token, _ in pieces]
        so_far = accumulate(piece for _, piece in pieces)
        whole = [ends_whole(data) for data in so_far]
        reply = self._write(tokens, 1)
        written = reply.get("completion_probabilities", [])  # missing where it is empty
        if [each["id"] for each in written] != list(compress(tokens, whole)):
            raise EngineError("choices", f"the model cannot write this choice: {text[:100]}")
        told = [known(each) for each in written]
        told += [self._hidden(tokens[: n + 1]) for n, ends in enumerate(whole) if not ends]
        sure = [each for each in told if each is not None]
        total = min(0.0, sum(sure)) if len(sure) == len(tokens) else None
        return total, reply["tokens_evaluated"], len(tokens)

    def _hidden(self, tokens: Sequence[int]) -> float | None:
        """The log-probability of the last of these tokens, after the others; None where the server
        cannot be brought to tell.
        """
        *before, last = tokens
        prompt, begun = self.prompt, before
        if not isinstance(prompt, dict):  # one with pictures takes no tokens
            prompt, begun = [*(prompt if isinstance(prompt, list) else [prompt]), *before], []
        other = self._whole()
        for count in ALTERNATIVES:
            reply = self._write([*begun, other], count, prompt)
            told = reply.get("completion_probabilities")
            if not told or told[-1]["id"] != other:  # for the server this one is half a letter, too
                return None
            for each in told[-1]["top_logprobs"]:
                if each["id"] == last:
                    return known(each)
        return None

    def _whole(self) -> int:
        """A token of letters that are all there, the longest one: the server looks for half a
        letter among the last four bytes.
        """
        first = (self._tokens(text)[0] for text in LONG)
        return max(first, key=lambda token: len(token[1]))[0]

    def _write(self, tokens: Sequence[int], alternatives: int, prompt: Any = None) -> Any:
        """Let the model write these tokens and nothing else."""
        forced = " ".join(f"<[{token}]>" for token in tokens)
        body = {
            "prompt": prompt or self.prompt,
            "temperature": 0.0,
            "grammar": f"%llguidance {{}}\nstart: {forced}",
            "n_predict": len(tokens),
            "n_probs": alternatives,
            "response_fields": FIELDS,
        }
        return self.server.post("/completion", orjson.dumps({**self.options, **body}))

    def _tokens(self, text: str) -> list[tuple[int, bytes]]:
        """The tokens of a text in which nothing stands for a control token, each with its bytes."""
        asked = {"content": text, "parse_special": False, "add_special": False, "with_pieces": True}
        found = self.server.post("/tokenize", orjson.dumps(asked))["tokens"]
        if not found:
            raise EngineError("choices", "the model knows no token of this choice")
        return [(each["id"], as_bytes(each["piece"])) for each in found]


def known(token: Mapping[str, Any]) -> float | None:
    """A token's log-probability; None where it is too small for the server's numbers (about -100),
    which then gives the least one that there is.
    """
    logprob = token.get("logprob")
    return float(logprob) if isinstance(logprob, int | float) and logprob > LEAST else None


def as_bytes(piece: str | list[int]) -> bytes:
    """A token's bytes, which the server lists one by one where they are no text."""
    return piece.encode() if isinstance(piece, str) else bytes(piece)


def ends_whole(data: bytes) -> bool:
    """Whether the last letter is all there."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def choose(forced: Forced, choices: Sequence[str]) -> Completion:
    """The likeliest of the choices as an answer to the prompt, with the log-probabilities of all.

    Raises EngineError of kind "choices" where one cannot be written to its end.
    """
    began = time.perf_counter()
    found = [forced.logprob(choice) for choice in choices]
    logprobs = tuple(logprob for logprob, _, _ in found)
    told = [logprob for logprob in logprobs if logprob is not None]
    if not told:
        raise EngineError("choices", "the model tells the probability of none of the choices")
    best = choices[logprobs.index(max(told))]
    said = sum(own for _, _, own in found)
    spent = time.perf_counter() - began
    return Completion(best, "stop", found[0][1], said, spent, logprobs=logprobs)
