"""Prompts, output trees and filters."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.errors import TemplateError
from mirage.record import Image
from mirage.template import (
    TemplateMistake,
    compile_expression,
    compile_text,
    compile_tree,
)

ONE, TWO = Image("1", data=b"1"), Image("2", data=b"2")
VALUES: dict[str, Any] = {
    "text": "A {other} {{ 7*7 }}",
    "other": "é\n",
    "items": [{"a": "é"}, None, True],
    "tags": ["x", "y"],
    "data": {"items": 5, "k": [1, "z"], "null": None},
    "photo": ONE,
    "photos": [ONE, TWO],
    "nothing": None,
    "yes": True,
}
NAMES = frozenset(VALUES)


def text(template: str, **scope: Any) -> str:
    return compile_text(template, NAMES, **scope).text(VALUES)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{text}|{other}", "A {other} {{ 7*7 }}|é\n"),
        ("{{ text }}{% if yes %}{text}{% endif %}", VALUES["text"] * 2),
        ("Say {items}", 'Say [{"a": "é"}, null, true]'),
        ("{yes}{{ yes }}", "truetrue"),
        ("{data.k[-1]}{% if yes %}{data.k[-1]}{% endif %}", "zz"),
        ('{data."items"} {{ data.items }} {{ data["items"] }}', "5 5 5"),
        (
            'As {"question": "…"} {#12} {} {a: b} {0} { }',
            'As {"question": "…"} {#12} {} {a: b} {0} { }',
        ),
        ("{% raw %}{text} {{ text }} {nobody}{% endraw %}{other}", "{text} {{ text }} {nobody}é\n"),
        ("{ text }", VALUES["text"]),
        ("\\boxed{tags}\n", '\\boxed["x", "y"]\n'),
        ("{% if yes %}x{% endif %}\n", "x\n"),
        (
            "{% for t in tags %}{{ loop.index }}{{ t }}{{ ',' if not loop.last }}{% endfor %}",
            "1x,2y",
        ),
        ("{{ tags ~ yes ~ 1 }}", '["x", "y"]true1'),
        ("{{ tags | join('-') }} {{ [yes, 1] | join }}", "x-y true1"),
        ("{{ tags | map('upper') }}", '["X", "Y"]'),
        ("{{ items | tojson }} {{ yes | string }}", '[{"a": "é"}, null, true] true'),
        ("{{ '<&>' | tojson }}", '"<&>"'),
        ("{{ data.absent | default('d') }}{{ nothing or 'n' }}", "dn"),
        ("{{ text[:1] }}{{ data.items + 1 }}", "A6"),
        ("{% set t = other %}{{ t }}", "é\n"),
        ("", ""),
    ],
)
def test_a_text_is_filled(template: str, expected: str) -> None:
    """Both styles are filled, all else stays; values are never read as templates."""
    assert text(template) == expected


@pytest.mark.parametrize(
    ("template", "kind"),
    [
        ("{nothing}", "null"),
        ("{{ nothing }}", "null"),
        ("{{ 'x' ~ nothing }}", "null"),
        ("{data.null}", "null"),
        ("{data.absent}", "missing"),
        ("{{ data.absent }}", "missing"),
        ("{% if data.absent %}{% endif %}", "missing"),
        ("{% if yes %}{text[0]}{% endif %}", "missing"),
        ("{text[0]}", "missing"),
        ("{{ data.__class__ }}", "missing"),
        ("{{ ''['__class__'] | string }}", "missing"),
        ("{{ 1 / 0 }}", "render"),
        ("{{ range(10000000) | list }}", "render"),
        ("{photo}", "image"),
        ("{% if yes %}{photo}{% endif %}", "image"),
        ("{{ photo ~ '' }}", "image"),
        ("{{ [photo, 1] }}", "image"),
    ],
)
def test_what_cannot_become_text_fails_the_record(template: str, kind: str) -> None:
    """A null, a path that leads nowhere, an image and an error of Jinja each have their kind."""
    compiled = compile_text(template, NAMES)
    with pytest.raises(TemplateError) as caught:
        compiled.text(VALUES)
    assert caught.value.kind == kind


def test_values_beyond_json_have_a_form_or_fail() -> None:
    """Dates and decimals are written as text; bytes are refused."""
    compiled = compile_text("{value}", ["value"])
    assert compiled.text({"value": [date(2026, 1, 2), Decimal("1.50")]}) == '["2026-01-02", "1.50"]'
    with pytest.raises(TemplateError, match="bytes"):
        compiled.text({"value": b"raw"})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{photo} and {photo}", (ONE, " and ", ONE)),
        ("a{photos}b", ("a", ONE, TWO, "b")),
        ("{% for p in photos %}[{{ p }}]{% endfor %}", ("[", ONE, "][", TWO, "]")),
        ("{% set p %}<{photo}>{% endset %}{{ p }}!", ("<", ONE, ">!")),
        ("{% macro m(x) %}({{ x }}){% endmacro %}{{ m(photo) }}", ("(", ONE, ")")),
        ("{text}{other}", (VALUES["text"] + VALUES["other"],)),
        ("", ()),
    ],
)
def test_an_image_is_a_part_of_its_own(template: str, expected: tuple[Any, ...]) -> None:
    """Images stand at their places, once per mention, and neighbouring texts are one part."""
    assert compile_text(template, NAMES).parts(VALUES) == expected


@pytest.mark.parametrize("template", ["{p}x", "{{ p }}x", "{% if p is defined %}{p}{% endif %}x"])
def test_a_null_image_is_nothing_at_all(template: str) -> None:
    """Where a variable is known to hold images, null and empty lists leave no trace."""
    compiled = compile_text(template, ["p"], images=["p"])
    assert compiled.parts({"p": None}) == ("x",)
    assert compiled.parts({"p": []}) == ("x",)
    assert compiled.parts({"p": [ONE, None]}) == (ONE, "x")


@pytest.mark.parametrize(
    ("template", "says", "offset"),
    [
        ("ab {txt}", "unknown variable 'txt'; did you mean 'text'?", 3),
        ("a\n {{ txt }}", "unknown variable 'txt'; did you mean 'text'?", 6),
        ("a  {%- if yes -%}  x {txt}{% endif %}", "unknown variable 'txt'", 21),
        ("{txt.a[0]}", "unknown variable 'txt'", 0),
        ("\n {% if %}", "Jinja: Expected an expression", 2),
        ("{{ text | uper }}", "unknown filter 'uper'; did you mean 'upper'?", 0),
        ("{{ text is strin }}", "unknown test 'strin'; did you mean 'string'?", 0),
        ("{{ text.upper() }}", "use the filter '| upper'", 0),
        ("{{ text.__class__.__mro__() }}", "methods cannot be called", 0),
        ("{{ text | attr('upper') }}", "unknown filter 'attr'", 0),
        ("{% include 'x' %}", "cannot load another", 0),
        ("{{ lipsum() }}", "unknown variable 'lipsum'", 3),
    ],
)
def test_a_mistake_is_found_before_any_record(template: str, says: str, offset: int) -> None:
    """Unknown names, syntax, methods and loading are known when a text is compiled."""
    with pytest.raises(TemplateMistake) as caught:
        compile_text(template, NAMES)
    assert says in caught.value.message
    assert caught.value.offset == offset


def test_declared_names_win_over_those_of_jinja() -> None:
    """A variable may be called `range`; one called `none` cannot be told from Jinja's word."""
    values = {"range": "r", "none": "n"}
    assert compile_text("{% if 1 %}{range}{{ range }}{% endif %}", values).text(values) == "rr"
    assert compile_text("{none}", values).text(values) == "n"
    with pytest.raises(TemplateMistake, match="word of Jinja"):
        compile_text("{% if 1 %}{none}{% endif %}", values)


def test_all_mistakes_come_together() -> None:
    """One error holds every mistake of a tree, each with its path and offset."""
    with pytest.raises(TemplateMistake) as caught:
        compile_tree({"a": ["{x}", {"b": "see {{ y }} {z}"}]}, NAMES)
    found = {(mistake.path, mistake.offset) for mistake in caught.value.together}
    assert found == {(("a", 0), 0), (("a", 1, "b"), 7), (("a", 1, "b"), 12)}


def test_bare_keys_of_json_outputs_are_variables() -> None:
    """A bare key reads its output in either style; one of two outputs is a mistake when used."""
    aliases = {"z": ("data", "k", 1), "gone": ("data", "gone")}
    scope: dict[str, Any] = {"aliases": aliases, "ambiguous": {"dup": ["one", "two"]}}
    compiled = compile_text("{z}{% if z %}{{ z }}{% endif %}", NAMES, **scope)
    assert compiled.needs == {"data"}
    assert compiled.text(VALUES) == "zz"
    assert text("{text}", **scope) == VALUES["text"]
    for template in ("{gone}", "{% if yes %}{gone}{% endif %}"):
        with pytest.raises(TemplateError):
            text(template, **scope)
    for template in ("{dup}", "{{ dup }}"):
        with pytest.raises(TemplateMistake, match=r"key of one and two: write \{one.dup\}"):
            text(template, **scope)


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ("{items}", VALUES["items"]),
        ("{{ items }}", VALUES["items"]),
        ("{photos}", [ONE, TWO]),
        ("{nothing}", None),
        ("{data.k[0]}", 1),
        ("{{ data.k[0] + 1 }}", 2),
        ("{{ tags | map('upper') }}", ["X", "Y"]),
        ("{items}\n", '[{"a": "é"}, null, true]\n'),
        ("{yes}{yes}", "truetrue"),
        ({"{text}": [1, None, {"deep": "{yes}"}]}, {"{text}": [1, None, {"deep": True}]}),
        ("plain", "plain"),
    ],
)
def test_a_whole_reference_keeps_its_type(tree: Any, expected: Any) -> None:
    """A string that is exactly one reference is the value; other strings are text."""
    assert compile_tree(tree, NAMES).value(VALUES) == expected


def test_a_tree_is_made_anew_each_time() -> None:
    """Changing one row does not change the next."""
    compiled = compile_tree({"a": [1]}, NAMES)
    compiled.value(VALUES)["a"].append(2)
    assert compiled.value(VALUES) == {"a": [1]}


def test_an_image_within_text_of_a_tree_fails() -> None:
    """Only a whole reference carries an image out."""
    with pytest.raises(TemplateError, match="image"):
        compile_tree("see {photo}", NAMES).value(VALUES)


def test_needs_name_what_is_read() -> None:
    """Only declared variables count, not the template's own names."""
    template = "{text}{% for t in tags %}{{ t }}{% endfor %}"
    assert compile_text(template, NAMES).needs == {"text", "tags"}
    assert compile_tree({"a": "{yes}", "b": ["{{ data.k }} "]}, NAMES).needs == {"yes", "data"}
    assert compile_expression("text | length > 2", NAMES).needs == {"text"}


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("text | length > 2", True),
        ("'z' in tags", False),
        ("data.absent is defined", False),
        ("data.null is none and yes", True),
    ],
)
def test_a_filter_holds_or_not(expression: str, holds: bool) -> None:
    """A filter is a Jinja expression over the variables."""
    assert compile_expression(expression, NAMES)(VALUES) is holds


def test_a_filter_that_reads_what_is_not_there_fails() -> None:
    """An undefined value is an error, never simply false."""
    with pytest.raises(TemplateError, match="absent"):
        compile_expression("data.absent", NAMES)(VALUES)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("{text} == 1", "without braces"),
        ("text ==", "Jinja"),
        ("text tags", "unexpected 'tags'"),
        ("txt", "did you mean 'text'"),
        ("text.startswith('A')", "methods"),
        ("", "Jinja"),
    ],
)
def test_a_bad_filter_is_refused(expression: str, says: str) -> None:
    """What is no expression over the variables is found when it is compiled."""
    with pytest.raises(TemplateMistake, match=says):
        compile_expression(expression, NAMES)


@given(st.text(), st.text())
@settings(max_examples=100)
def test_values_stand_as_they_are(first: str, second: str) -> None:
    """Whatever two values hold, they stand unchanged around what the template says."""
    values = {"a": first, "b": second}
    assert compile_text("{a}-{b}", values).text(values) == f"{first}-{second}"
    assert compile_text("{{ a }}{% if true %}-{b}{% endif %}", values).text(values) == (
        f"{first}-{second}"
    )


@given(st.text(alphabet="{}%#ab \n\"[].'|", max_size=30))
@settings(max_examples=100)
def test_any_text_compiles_or_is_a_mistake(template: str) -> None:
    """No text crashes the compiler, and a compiled one fails as a record's trouble at most."""
    try:
        compiled = compile_text(template, ["a"])
        compiled.parts({"a": {"b": "x"}})
    except (TemplateMistake, TemplateError):
        return
