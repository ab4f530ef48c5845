"""The models as a schema for editors."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from mirage.config.editor import json_schema

CONFIG: dict[str, Any] = {"inputs": [], "output_schema": {}}


def valid(**keys: Any) -> None:
    Draft202012Validator(json_schema()).validate(CONFIG | keys)


def test_the_schema_takes_the_document_s_own_spellings() -> None:
    """`prompt`, `custom`, `JSON`, `max_new_tokens`, one source or several."""
    sampling = {"max_new_tokens": 5}
    prompt = {"name": "a", "type": "prompt", "output_type": "JSON", "prompt": "p"}
    valid(outputs=[prompt, {"name": "b", "type": "custom", "function": "m:f"}])
    valid(source=[{"path": "a"}], engine={"base_url": ["a"], "sampling": sampling})
    valid(source={"path": "a"}, run={"max_failures": 0.1})


def test_the_schema_refuses_unknown_keys() -> None:
    """An editor sees a misspelt key."""
    Draft202012Validator.check_schema(json_schema())
    with pytest.raises(ValidationError):
        valid(source={"pth": "a"})


def test_the_schema_describes_the_keys() -> None:
    """What stands under a key in the models is its description."""
    source = json_schema()["$defs"]["SourceConfig"]
    assert source["description"] == "Where the rows are."
    assert "JMESPath" in source["properties"]["id"]["description"]
