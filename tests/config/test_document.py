"""YAML text into plain data."""

from __future__ import annotations

from typing import Any

import pytest

from mirage.config.document import NODE_LIMIT, read_document
from mirage.errors import ConfigError


def wrong(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_document(text, "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{name}", "{name}"),
        ("{ name }", "{name}"),
        ("{name.field}", "{name.field}"),
        ("[{a}, {b}]", ["{a}", "{b}"]),
        ("{role: user, content: {a}}", {"role": "user", "content": "{a}"}),
        ("{a: null}", {"a": None}),
        ("{'a'}", {"a": None}),
        ("{a, b}", {"a": None, "b": None}),
        ("{two words}", {"two words": None}),
        ("\n  name:", {"name": None}),
        ("yes", "yes"),
        ("2026-01-02", "2026-01-02"),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e3", 1000.0),
        ("True", True),
        ("~", None),
        ("!!str 3", "3"),
        ("&a [1]\nb: *a", [1]),
        ('"é\\n"', "é\n"),
    ],
)
def test_yaml_1_2_is_read_as_plain_data(written: str, value: Any) -> None:
    """A flow mapping of one key and no value is a reference; all else is YAML 1.2's core."""
    assert read_document(f"v: {written}\n").data["v"] == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the configuration is empty"),
        ("# nothing\n", "the configuration is empty"),
        ("- a\n", "x.yaml:1:1: a configuration is a mapping"),
        ("a: 1\nb: {c: 1, c: 2}\n", "x.yaml:2:11: b.c: duplicate key"),
        ("a: {{ name }}\n", "x.yaml:1:4: a: braces that YAML reads as a mapping: put it in quotes"),
        ("a: {b[1].c}\n", "x.yaml:1:6: not YAML"),
        ("a: {b[1].c}\n", "put it in quotes"),
        ("a: {b} and {c}\n", "put it in quotes"),
        ("a: {% raw %}\n", "put it in quotes"),
        ("a: !!python/object:os.system x\n", "x.yaml:1:4: a: the tag"),
        ("a: !own [1]\n", "refused"),
        ("!own\na: 1\n", "refused"),
        ("1: a\n", "x.yaml:1:1: the key 1 is not text: put it in quotes"),
        ("? [a]\n: b\n", "a key must be text"),
        ("b: &b {c: 1}\na:\n  <<: *b\n", "x.yaml:3:3: a: '<<' is not part of YAML 1.2"),
        ("a: &a [*a]\n", "an alias that contains itself"),
        ("a: *b\n", "undefined alias"),
        ("a: 1\n--- \nb: 2\n", "another document"),
        ("a: " + "[" * 200 + "]" * 200, "nested too deeply"),
        ("a: " + "[" * 1500, "nested too deeply"),
        ("a: \x07\n", "not YAML"),
        ('a: "\\ud800"\n', "x.yaml:1:4: a: '\\ud800' cannot be read"),
        ('"\\ud800": 1\n', "x.yaml:1:1: '\\ud800' cannot be read"),
        ("a: " + "9" * 5000 + "\n", "cannot be read"),
        ("\ta: 1\n", "x.yaml:1:1: not YAML"),
    ],
)
def test_what_is_wrong_with_a_text_is_said_with_its_place(text: str, says: str) -> None:
    """Each kind of broken or hostile text is one message, never a crash."""
    assert says in wrong(text)


def test_aliases_cannot_multiply_without_end() -> None:
    """Ten lines that stand for a million values are refused quickly."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 7)]
    assert f"more than {NODE_LIMIT} values" in wrong("\n".join(lines))
