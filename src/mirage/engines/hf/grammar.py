"""JSON schemas as constraints on the next token, through llguidance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import llguidance
import llguidance.hf
import orjson

from mirage.engines.chat import guided
from mirage.errors import EngineError

KEPT = 256


class Grammars:
    """Matchers for schemas; the matcher of a schema is made once, then copied."""

    def __init__(self, tokenizer: Any, vocabulary: int, end: int | None) -> None:
        size = vocabulary if vocabulary >= len(tokenizer) else None
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, n_vocab=size, eos_token=end)
        self._known: dict[bytes, Any] = {}

    def matcher(self, schema: Mapping[str, Any]) -> Callable[[], Any]:
        """What makes a fresh matcher. Raises EngineError for a schema that cannot be kept to."""
        key = orjson.dumps(schema)
        if key not in self._known:
            bound = orjson.dumps(guided(schema)).decode()
            try:
                grammar = llguidance.LLMatcher.grammar_from_json_schema(bound)
            except ValueError as exc:
                raise EngineError("schema", str(exc), attempts=1) from exc
            made = llguidance.LLMatcher(self._tokenizer, grammar, log_level=0)
            if made.is_error():
                raise EngineError("schema", made.get_error(), attempts=1)
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[key] = made
        return partial(_copied, self._known[key])


def _copied(matcher: Any) -> Any:
    return matcher.deep_copy()
