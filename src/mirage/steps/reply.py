"""From a reply's text to a value: strict parse, one repair, validation. Never a blank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from msgspec import Struct

from mirage.errors import ParseError
from mirage.record import Completion


def check_finished(completion: Completion) -> None:
    """A reply that was cut off, or holds nothing, is no answer."""
    if completion.finish == "length":
        raise ParseError("cut_off", "the reply was cut off at max_tokens", raw=completion.text)
    if not completion.text.strip():
        raise ParseError("empty", "the reply is empty", raw=completion.text)


class PlainReply(Struct, frozen=True):
    """The text as it came."""

    schema: None = None

    def parse(self, text: str) -> Any:
        return text

    def read(self, text: str) -> Any:
        return text


class JSONReply:
    """An object that fits a JSON Schema, its keys in the schema's order; with `many`, a list.

    `schema` is what the wire carries: with `many`, `{"items": [...]}` around the objects.
    """

    def __init__(self, schema: Mapping[str, Any], *, many: bool) -> None:
        from jsonschema import Draft202012Validator

        self.schema = schema
        self.many = many
        self._validator = Draft202012Validator(dict(schema))

    def parse(self, text: str) -> Any:
        """The value. Raises ParseError, with the text, where none can be had."""
        from jsonschema.exceptions import best_match

        value = self._object(text)
        problem = best_match(self._validator.iter_errors(value))
        if problem is not None:
            where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in problem.path)
            message = f"{where.lstrip('.')}: {problem.message}" if where else problem.message
            raise ParseError("schema", message[:500], raw=text)
        return self._shaped(value)

    def read(self, text: str) -> Any:
        """The value of a text that has passed `parse` before."""
        return self._shaped(self._object(text))

    def _shaped(self, value: Any) -> Any:
        value = ordered(value, self.schema)
        return value["items"] if self.many else value

    def _object(self, text: str) -> Any:
        try:
            return orjson.loads(text.strip())
        except orjson.JSONDecodeError as exc:
            import json_repair

            repaired = json_repair.loads(text)
            if not isinstance(repaired, dict):
                raise ParseError("json", f"not JSON: {exc}", raw=text) from exc
            return repaired


def ordered(value: Any, schema: Mapping[str, Any]) -> Any:
    """The same value with every object's keys in the order in which the schema declares them."""
    if isinstance(value, dict) and isinstance(names := schema.get("properties"), dict):
        known = {name: ordered(value[name], names[name]) for name in names if name in value}
        return known | {name: value[name] for name in value if name not in names}
    if isinstance(value, list) and isinstance(items := schema.get("items"), dict):
        return [ordered(item, items) for item in value]
    return value
