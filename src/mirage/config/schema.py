"""The JSON that a model is asked for: from an output's short notation to a JSON Schema.

    [question, answer]                          names, each a text
    {score: int, tags: [str], who: {name: str}} names and types, nested
    {score: {type: int, min: 1, max: 5, description: …}, mood: {enum: [good, bad]}}
    {type: object, properties: {…}}             a JSON Schema, used as it is (draft 2020-12)

The declared order of keys is kept everywhere: that the explanation comes before the answer matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mirage.names import Path, suggest

_TYPES = {
    "str": "string",
    "string": "string",
    "text": "string",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "bool": "boolean",
    "boolean": "boolean",
}
_LIMITS = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "array": ("minItems", "maxItems"),
}
_SPEC = ("type", "min", "max", "enum", "description")
_SHARED = ("$defs", "definitions")


class SchemaMistake(ValueError):  # noqa: N818
    """A mistake in an `output_schema`; `path` leads to it from there."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


def answer_schema(output_schema: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of one answer: an object whose keys are all required, and no others.

    Raises SchemaMistake.
    """
    if isinstance(output_schema, Mapping):
        if output_schema.get("type") == "object" and _is_map(output_schema.get("properties")):
            return _checked(dict(output_schema))
        return _object(output_schema, ())
    seen: set[str] = set()
    for index, name in enumerate(output_schema):
        if not isinstance(name, str) or not name:
            raise SchemaMistake("a list holds names; for types write a mapping", (index,))
        if name in seen:
            raise SchemaMistake(f"'{name}' stands here twice", (index,))
        seen.add(name)
    return _object(dict.fromkeys(output_schema, "str"), ())


def keys(schema: Mapping[str, Any]) -> list[str]:
    """The keys of an answer, in declared order."""
    return list(schema["properties"])


def many(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a list of such answers, as it goes over the wire: `{"items": [...]}`.

    References within the schema still lead where they led.
    """
    item = {key: _moved(value) for key, value in schema.items() if key not in _SHARED}
    shared = {key: _moved(schema[key]) for key in _SHARED if key in schema}
    whole = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": item}},
        "required": ["items"],
        "additionalProperties": False,
    }
    return whole | shared


def _object(fields: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if not fields:
        raise SchemaMistake("no keys are named", path)
    return {
        "type": "object",
        "properties": {name: _type(kind, (*path, name)) for name, kind in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }


def _type(kind: Any, path: Path) -> dict[str, Any]:
    match kind:
        case str():
            return _named(kind.strip(), path)
        case [item]:
            return {"type": "array", "items": _type(item, (*path, 0))}
        case Mapping() if _is_spec(kind):
            return _spec(kind, path)
        case Mapping():
            return _object(kind, path)
        case list():
            raise SchemaMistake("a list of one type is [type]; of choices {enum: [...]}", path)
    raise SchemaMistake("must be a type, such as str, int, float, bool or [str]", path)


def _named(kind: str, path: Path) -> dict[str, Any]:
    if kind.startswith("list[") and kind.endswith("]"):
        return {"type": "array", "items": _named(kind[5:-1].strip(), path)}
    if kind not in _TYPES:
        near = suggest(kind, _TYPES) or "; known are str, int, float, bool and list[...]"
        raise SchemaMistake(f"unknown type '{kind}'{near}", path)
    return {"type": _TYPES[kind]}


def _is_spec(fields: Mapping[str, Any]) -> bool:
    """`{type: int, min: 1}` is a type; `{type: str, name: str}` is an object with these keys."""
    typed = isinstance(fields.get("type"), (str, list)) or isinstance(fields.get("enum"), list)
    return typed and all(name in _SPEC for name in fields)


def _spec(fields: Mapping[str, Any], path: Path) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if "description" in fields:
        if not isinstance(fields["description"], str):
            raise SchemaMistake("must be text", (*path, "description"))
        made["description"] = fields["description"]
    if "type" in fields:
        made |= _type(fields["type"], (*path, "type"))
    if "enum" in fields:
        if not isinstance(fields["enum"], list) or not fields["enum"]:
            raise SchemaMistake("must be a list of the values allowed", (*path, "enum"))
        made["enum"] = list(fields["enum"])
    for index, name in enumerate(("min", "max")):
        if name not in fields:
            continue
        limits = _LIMITS.get(made.get("type", ""))
        if limits is None:
            raise SchemaMistake("only numbers, texts and lists have limits", (*path, name))
        limit = fields[name]
        whole = limits != ("minimum", "maximum")
        if isinstance(limit, bool) or not isinstance(limit, int if whole else (int, float)):
            raise SchemaMistake(
                "must be a whole number" if whole else "must be a number", (*path, name)
            )
        made[limits[index]] = limit
    return made


def _checked(schema: dict[str, Any]) -> dict[str, Any]:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as exc:
        steps = tuple(step for step in exc.absolute_path if isinstance(step, (str, int)))
        raise SchemaMistake(f"no JSON Schema: {exc.message}", steps) from exc
    for path, target in _references(schema, ()):
        if not target.startswith("#"):
            raise SchemaMistake("a schema cannot refer to another document", path)
    if not schema["properties"]:
        raise SchemaMistake("no keys are named", ("properties",))
    return schema


def _references(schema: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield (*path, key), value
            else:
                yield from _references(value, (*path, key))
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from _references(value, (*path, index))


def _moved(schema: Any) -> Any:
    """The same schema two levels further down; definitions stay at the root."""
    if isinstance(schema, list):
        return [_moved(value) for value in schema]
    if not isinstance(schema, Mapping):
        return schema
    moved = {key: _moved(value) for key, value in schema.items()}
    target = moved.get("$ref")
    if isinstance(target, str) and target[2:].split("/")[0] not in _SHARED:
        moved["$ref"] = "#/properties/items/items" + target[1:]
    return moved


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)
