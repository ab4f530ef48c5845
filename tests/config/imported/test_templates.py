"""Prompts of the old project mean here what they meant there."""

from __future__ import annotations

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage.config.imported.templates import from_format, from_jinja, is_jinja
from mirage.template import compile_text

VALUES = {
    "question": "Why {x}?",
    "answer": "{{ no }} {question}",
    "verdict": {"why": "w", "n": [1]},
}
NAMES = frozenset(VALUES)
HERE = {**VALUES, "verdict": VALUES["verdict"]}


class Told:
    """What was told of a text."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.lost: list[str] = []

    def __call__(self, message: str, lost: bool = False) -> None:
        (self.lost if lost else self.notes).append(message)


def rendered(text: str) -> str:
    return compile_text(text, NAMES).text(VALUES)


OPEN = ["{question}", "{answer}", "{{", "}}", "}}\n", "{{question}}", "{{other}}", "{{%", "{{#"]
TEXT = ["a ", "\n", "%}", "#}", '{{"a": 1}}', "{{{answer}}}", "{question}{answer}"]
JINJA = ["{{ question }}", "{{answer|upper}}", "{% if answer %}yes{% endif %}", "{# no #}"]
LITERAL = ["a ", "\n", "{other}", "{other.x[0]}", '{"a": 1}', "{% raw %}{o} {{ x }}{% endraw %}"]


@given(st.lists(st.sampled_from([*OPEN, *TEXT])))
def test_what_python_formats(pieces: list[str]) -> None:
    """The same text comes out, whatever braces are in it."""
    text = "".join(pieces)
    try:
        there = text.format(**VALUES)
    except ValueError:
        return
    assert rendered(from_format(())(text, Told())) == there


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("{verdict[why]}", "{verdict.why}"),
        ("{verdict[n][0]}", "{verdict.n[0]}"),
        ("{verdict.why}", "{verdict.why}"),
        ('{"a": 1} {question}', '{"a": 1} {question}'),
        ("{", "{"),
        ("{assistant_answr}", "{assistant_answr}"),
    ],
)
def test_fields_of_python_become_paths(old: str, new: str) -> None:
    """What it would have failed at stays as it is, for `mirage check` to name."""
    assert from_format(())(old, Told()) == new


def test_a_format_of_a_field_is_lost() -> None:
    """There is no such thing here, and it is told."""
    told = Told()
    assert from_format(())("{question:>10} {answer!r}", told) == "{question} {answer}"
    assert len(told.lost) == 2


def test_an_answer_in_json_was_a_text_to_python() -> None:
    """As a whole value it would be an object here."""
    assert from_format({"verdict"})("{verdict}", Told()) == "{{ verdict | tojson }}"


@given(st.lists(st.sampled_from([*JINJA, *LITERAL])))
def test_what_jinja_renders(pieces: list[str]) -> None:
    """The same text comes out; single braces of no variable are text there and here."""
    text = "".join(pieces)
    there = jinja2.Template(text).render(**VALUES)
    assert rendered(from_jinja(NAMES)(text, Told())) == there


def test_a_variable_in_single_braces_is_one_and_told() -> None:
    """Jinja left it as text, which nobody can have meant."""
    told = Told()
    assert from_jinja(NAMES)("{question} {{ answer }}", told) == "{question} {{ answer }}"
    assert len(told.notes) == 1 and not told.lost


def test_a_method_is_lost() -> None:
    """Values have none here."""
    told = Told()
    from_jinja(NAMES)("{{ question.upper() }}", told)
    assert len(told.lost) == 1


@pytest.mark.parametrize(
    ("text", "jinja"),
    [
        ("{question}", False),
        ("{{ question }}", True),
        ("{{question|upper}}", True),
        ("{%- if question %}x{% endif %}", True),
        ('Reply as {{"question": "..."}} to {question}', False),
        ("Reply as {{other}} to {question}", False),
    ],
)
def test_which_templates_a_file_has(text: str, jinja: bool) -> None:
    """Two braces around a variable are Jinja's, around anything else Python's."""
    assert is_jinja([text], NAMES) is jinja
