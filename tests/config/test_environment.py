"""The environment in a configuration, and what of it may be shown."""

from __future__ import annotations

from typing import Any

import pytest

from mirage.config.environment import expand, expand_text, redact

ENVIRONMENT = {"DATA": "/data", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${DATA}/a", "/data/a"),
        ("${NO:-d}${NO:-}", "d"),
        ("${EMPTY:-d}[${EMPTY}]", "d[]"),
        ("$$ $${DATA} $DATA $", "$ ${DATA} $DATA $"),
        ("${NO:-a:-b $$}", "a:-b $$"),
    ],
)
def test_variables_are_replaced(text: str, expanded: str) -> None:
    """As in a shell; what has no braces is text."""
    assert expand_text(text, ENVIRONMENT) == expanded


@pytest.mark.parametrize("text", ["${NO}", "${}", "${a b}", "${DATA", "${DATA:x}", "${1A}"])
def test_what_cannot_be_replaced_is_refused(text: str) -> None:
    """An unset variable and a broken form are errors, never an empty string."""
    with pytest.raises(ValueError, match=r"not set|write \$\{NAME\}"):
        expand_text(text, ENVIRONMENT)


def test_only_where_machines_differ() -> None:
    """Engines, source, sink, run folder and paths; never prompts, schemas or arguments."""
    v = "${DATA}"
    entry = {"name": v, "prompt": v, "file": v, "image_base_path": v, "args": {"file": v}}
    data: dict[str, Any] = {
        "source": [{"path": v}],
        "engines": {"a": {"headers": {"X": v}}},
        "sink": {"path": v},
        "run": {"dir": v, "other": v},
        "outputs": [entry],
        "output_schema": {"file": v},
    }
    expanded, wrong = expand(data, ENVIRONMENT)
    assert wrong == []
    assert expanded == {
        "source": [{"path": "/data"}],
        "engines": {"a": {"headers": {"X": "/data"}}},
        "sink": {"path": "/data"},
        "run": {"dir": "/data", "other": v},
        "outputs": [entry | {"file": "/data", "image_base_path": "/data"}],
        "output_schema": {"file": v},
    }
    assert data["sink"] == {"path": v}


def test_every_unset_variable_is_found() -> None:
    """All at once, each with its path; flags are left as the shell made them."""
    data = {"source": {"path": "${A1}", "id": "${A2}"}, "sink": {"path": "${A3}"}}
    _, wrong = expand(data, {}, literal={("sink", "path")})
    assert [path for path, _ in wrong] == [("source", "path"), ("source", "id")]


def test_secrets_are_redacted_and_variables_stay() -> None:
    """Headers, queries, what is called a key or token, and users in URLs; `${…}` is no secret."""
    engine = {
        "base_url": ["https://me:pw@host/v1", "https://me:p@w@host/v1"],
        "api_key_env": "KEY",
        "headers": {"A": "Bearer abc", "B": "Bearer ${TOKEN}", "C": "x${TOKEN}"},
        "args": {"hf_token": "abc", "max_tokens": 5},
        "query": {"api-version": "1", "key": "abc", "code": "abc"},
    }
    shown = redact({"engine": engine, "engines": {"n": {"headers": {"A": "abc"}}}, "inputs": []})
    assert shown == {
        "engine": {
            "base_url": ["https://***@host/v1", "https://***@host/v1"],
            "api_key_env": "KEY",
            "headers": {"A": "***", "B": "Bearer ${TOKEN}", "C": "***"},
            "args": {"hf_token": "***", "max_tokens": 5},
            "query": {"api-version": "1", "key": "***", "code": "***"},
        },
        "engines": {"n": {"headers": {"A": "***"}}},
        "inputs": [],
    }
