"""Keys of the source: a JMESPath expression, compiled once, that finds a value in a row.

A plain path (`conversations[1].content`) is walked by our own code, because the library cannot tell
a missing value from null; for any other expression null means missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from mirage.errors import SelectError, boundary
from mirage.names import MISSING, getter, parse_path, suggest
from mirage.names import Getter as Selector

__all__ = ["MISSING", "Selector", "compile_key", "fields_of"]


def compile_key(key: str) -> Selector:
    """A function of a row that returns the value at `key`, or `MISSING`.

    Raises ValueError where `key` is no expression; what is returned raises SelectError where an
    expression cannot be applied to a row (the length of a number).
    """
    path = parse_path(key.strip())
    return getter(path) if path is not None else _expression(key)


def fields_of(keys: Iterable[str]) -> frozenset[str] | None:
    """The fields of a row in which values at these keys are found; None where one of the keys is an
    expression, which may look at all of them.
    """
    paths = [parse_path(key.strip()) for key in keys]
    return None if None in paths else frozenset(str(path[0]) for path in paths if path)


def _expression(key: str) -> Selector:
    if not key.strip():
        raise ValueError("a key cannot be empty")
    try:
        expression = jmespath.compile(key)
    except JMESPathError as exc:
        raise ValueError(_explain(key, exc)) from exc
    for name in _functions(expression.parsed):
        if name not in Functions.FUNCTION_TABLE:
            near = suggest(name, Functions.FUNCTION_TABLE)
            raise ValueError(f"'{key}' calls the unknown function '{name}'{near}")

    def search(values: Mapping[str, Any]) -> Any:
        with boundary(SelectError, "expression"):
            found = expression.search(values)
        return MISSING if found is None else found

    return search


def _functions(node: Any) -> Iterator[str]:
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        if isinstance(child, dict) and "type" in child:
            yield from _functions(child)


def _explain(key: str, exc: JMESPathError) -> str:
    problem = str(exc).splitlines()[0].removesuffix(", for expression:").rstrip(":")
    problem = problem.removeprefix("Invalid jmespath expression: ")
    hint = ""
    if "-" in key and '"' not in key:
        hint = '; a name with a hyphen stands in double quotes: meta."image-id"'
    elif any(part.isdigit() for part in key.split(".")):
        hint = "; an index stands in brackets: turns[0]"
    return f"'{key}' is not a JMESPath expression ({problem}){hint}"
