"""What pydantic found wrong with a configuration, in the dialect's own words and places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mirage.config.models import Config, FilterOutput, LLMOutput, Model, PythonOutput
from mirage.names import Path, suggest

_TAGS: dict[int | str, type[Model]] = {
    "llm": LLMOutput,
    "python": PythonOutput,
    "filter": FilterOutput,
}
_KINDS = ("llm", "prompt", "python", "custom", "filter")
_SHAPES = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


def explain(error: ValidationError, data: Mapping[str, Any]) -> Iterator[tuple[Path, str, bool]]:
    """Path in `data`, message, and whether the path's last key is itself what is wrong."""
    for detail in error.errors(include_url=False):
        path = _path(detail, data)
        match detail["type"]:
            case "extra_forbidden":
                yield path, "unknown key" + _instead(detail["loc"], str(path[-1])), True
            case "missing":
                yield path, "is required", True
            case "union_tag_invalid" if isinstance(detail["input"], dict):
                yield (*path, "type"), _choice(detail["input"].get("type"), list(_KINDS)), False
            case _:
                on_key = detail["loc"][-1:] == ("[key]",)
                yield path, _message(detail), on_key


def _path(detail: ErrorDetails, data: Any) -> Path:
    """The steps of the location that are in the data: pydantic adds the branches of unions."""
    path: list[str | int] = []
    for step in detail["loc"]:
        listed = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if listed or (isinstance(data, dict) and step in data):
            path.append(step)
            data = data[step]
    if detail["type"] == "missing":
        path.append(detail["loc"][-1])
    return tuple(path)


def _known(location: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand where an unknown one does."""
    here: list[type[Model]] = [Config]
    for step in location[:-1]:
        if step in _TAGS:
            here = [_TAGS[step]]
            continue
        fields = [model.model_fields[step] for model in here if step in model.model_fields]
        here = [model for field in fields for model in _models(field.annotation)] or here
    return [name for model in here for name in model.model_fields]


def _instead(location: tuple[int | str, ...], key: str) -> str:
    """What may have been meant by an unknown key."""
    near = suggest(key, _known(location))
    in_engine = location[0] == "engine" or (location[0] == "engines" and len(location) > 2)
    return near or ("; an argument of the engine itself stands under `args`" if in_engine else "")


def _models(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _message(detail: ErrorDetails) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in _SHAPES:
        return f"must be {_SHAPES[kind]}{_given(given)}"
    if kind == "literal_error":
        return _choice(given, re.findall(r"'([^']*)'", str(context["expected"])))
    if kind == "union_tag_invalid":
        return "must be " + " or ".join(re.findall(r"'([^']*)'", context["expected_tags"]))
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_pattern_mismatch":
        return "must be a name: letters, digits and underscores, no digit first"
    return detail["msg"].replace("Input should be", "must be")


def _choice(given: Any, choices: list[str]) -> str:
    known = f"must be one of {', '.join(choices)}"
    return f"{known}, not '{given}'{suggest(given, choices)}" if isinstance(given, str) else known


def _given(value: Any) -> str:
    """What stands there instead. The value itself stays unsaid: it may be a secret."""
    match value:
        case None:
            return ", and nothing stands here"
        case str():
            return ", not text"
        case bool():
            return ", not true or false"
        case int():
            return ", not a number"
        case float():
            return ", not a fraction"
        case list() | tuple():
            return ", not a list"
        case dict():
            return ", not a mapping"
    return ""
