"""From an output's short notation to a JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mirage.config import SchemaMistake, answer_schema, keys, many


def test_names_are_texts_in_declared_order() -> None:
    """A list of names is an object of texts, all required and no others."""
    schema = answer_schema(["explanation", "answer"])
    assert keys(schema) == ["explanation", "answer"]
    assert schema == {
        "type": "object",
        "properties": {"explanation": {"type": "string"}, "answer": {"type": "string"}},
        "required": ["explanation", "answer"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("written", "schema"),
    [
        ("str", {"type": "string"}),
        ("int", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("bool", {"type": "boolean"}),
        (["int"], {"type": "array", "items": {"type": "integer"}}),
        (
            "list[list[str]]",
            {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        ),
        (
            {"type": "int", "min": 1, "max": 5, "description": "d"},
            {"description": "d", "type": "integer", "minimum": 1, "maximum": 5},
        ),
        ({"type": "str", "min": 1}, {"type": "string", "minLength": 1}),
        (
            {"type": ["str"], "max": 3},
            {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        ),
        ({"enum": ["good", "bad"]}, {"enum": ["good", "bad"]}),
        (
            {"type": "str", "name": "str"},
            {
                "type": "object",
                "properties": {"type": {"type": "string"}, "name": {"type": "string"}},
                "required": ["type", "name"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_types_are_written_short(written: Any, schema: dict[str, Any]) -> None:
    """Each notation of a type is its JSON Schema."""
    assert answer_schema({"key": written})["properties"]["key"] == schema


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ([], ()),
        ({}, ()),
        (["a", "a"], (1,)),
        ([""], (0,)),
        ([1], (0,)),
        ({"a": "strng"}, ("a",)),
        ({"a": None}, ("a",)),
        ({"a": 5}, ("a",)),
        ({"a": []}, ("a",)),
        ({"a": ["x", "y"]}, ("a",)),
        ({"a": {}}, ("a",)),
        ({"a": {"b": "list[x]"}}, ("a", "b")),
        ({"a": {"type": "bool", "min": 1}}, ("a", "min")),
        ({"a": {"type": "str", "max": 1.5}}, ("a", "max")),
        ({"a": {"type": "int", "min": True}}, ("a", "min")),
        ({"a": {"type": "int", "description": 1}}, ("a", "description")),
        ({"a": {"enum": []}}, ("a", "enum")),
        ({"type": "object", "properties": {}}, ("properties",)),
        ({"type": "object", "properties": {"a": {"type": "x"}}}, ("properties", "a", "type")),
        (
            {"type": "object", "properties": {"a": {"$ref": "http://h"}}},
            ("properties", "a", "$ref"),
        ),
    ],
)
def test_a_mistake_has_its_path(written: Any, path: tuple[Any, ...]) -> None:
    """What is no type is refused before any model is asked."""
    with pytest.raises(SchemaMistake) as caught:
        answer_schema(written)
    assert caught.value.path == path


def test_a_full_schema_is_used_as_it_is() -> None:
    """Where the mapping is a JSON Schema of an object, nothing is added."""
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
    assert answer_schema(schema) == schema


def test_many_wraps_the_answers_in_one_object() -> None:
    """On the wire a list stands under `items`, and references lead where they led."""
    schema = answer_schema(
        {
            "type": "object",
            "properties": {"name": {"$ref": "#/$defs/Name"}, "child": {"$ref": "#"}},
            "required": ["name"],
            "$defs": {"Name": {"type": "string"}},
        }
    )
    wrapped = Draft202012Validator(many(schema))
    assert wrapped.is_valid({"items": [{"name": "a", "child": {"name": "b"}}, {"name": "c"}]})
    assert not wrapped.is_valid({"items": [{"name": 1}]})
    assert not wrapped.is_valid({"items": [{"name": "a", "child": {"name": 1}}]})
    assert wrapped.is_valid({"items": []})
    assert not wrapped.is_valid({})
