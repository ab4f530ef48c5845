"""Prompts and output trees of the old project, in our dialect.

It had two kinds of templates, one after the other: Python's `str.format` and Jinja. Ours takes both
styles, so most texts stay as they are; what would come to mean something else is changed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from string import Formatter
from typing import Any, Protocol

from mirage.names import NAME, STEPS


class Tell(Protocol):
    """Says something of a text; `lost` where it does not do any more what it did."""

    def __call__(self, message: str, lost: bool = False) -> None: ...


Translate = Callable[[str, Tell], str]

REFERENCE = re.compile(rf"\{{[ \t]*({NAME}){STEPS}[ \t]*\}}")
JINJA = re.compile(
    r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL
)
METHOD = re.compile(r"\.\s*[A-Za-z_]\w*\s*\(")
FIELD = re.compile(rf"({NAME})((?:\.{NAME}|\[[^\[\]]+\])*)")
ITEM = re.compile(rf"\.({NAME})|\[([^\[\]]+)\]")


def is_jinja(texts: Iterable[str], declared: Collection[str]) -> bool:
    """Whether the templates are Jinja's: somewhere two braces hold a variable, or a statement."""
    names = "|".join(map(re.escape, declared)) or r"(?!)"
    sign = re.compile(rf"\{{\{{-?\s*(?:{names})\b[^{{}}]*\}}\}}|\{{%")
    return any(sign.search(text) for text in texts)


def from_jinja(declared: Collection[str]) -> Translate:
    """Jinja left single braces alone, took comments out, and the last newline with them."""

    def translate(text: str, tell: Tell) -> str:
        text = text.removesuffix("\n")
        made, at = "", 0
        for found in JINJA.finditer(text):
            made += plain(text[at : found.start()], tell) + code(found[0], tell)
            at = found.end()
        return made + plain(text[at:], tell)

    def plain(text: str, tell: Tell) -> str:
        def single(match: re.Match[str]) -> str:
            if match[1] not in declared:
                return raw(match[0])
            tell(f"{match[0]} was text to Jinja; here it is the variable, as it seems to be meant")
            return match[0]

        return REFERENCE.sub(single, text)

    return translate


def code(text: str, tell: Tell) -> str:
    if text.startswith("{#"):
        return ""
    if METHOD.search(text):
        tell(f"{text}: values have no methods here; a filter does the same", True)
    return text


def from_format(objects: Collection[str]) -> Translate:
    """`str.format` wrote a brace as two, and made texts of all values: `objects`, the answers in
    JSON, stay texts. What it would have failed at stays as it is.
    """

    def translate(text: str, tell: Tell) -> str:
        whole = REFERENCE.fullmatch(text)
        if whole and whole[1] in objects and text == f"{{{whole[1]}}}":
            return f"{{{{ {whole[1]} | tojson }}}}"
        try:
            pieces = list(Formatter().parse(text))
        except ValueError:
            return text
        made = literal = ""
        for before, name, spec, conversion in pieces:
            literal += before
            if name is None:
                continue
            found = FIELD.fullmatch(name)
            if found is None:
                literal += f"{{{name}{'!' + conversion if conversion else ''}"
                literal += f"{':' + spec if spec else ''}}}"
                continue
            if spec or conversion:
                tell(f"{{{name}}}: its format is left out; a filter can do the same", True)
            made += protected(literal, "{") + f"{{{found[1]}{items(found[2])}}}"
            literal = ""
        return made + protected(literal, "")

    return translate


def items(text: str) -> str:
    """`[key]` without quotes, as `str.format` has it, as a path of ours."""
    return "".join(
        f".{name or key}" if name or not key.isdecimal() else f"[{key}]"
        for name, key in ITEM.findall(text)
    )


def protected(literal: str, following: str) -> str:
    """Text that stays what it is: what would be a template in it is raw."""
    whole = literal + following
    if "{{" in whole or "{%" in whole:
        return raw(literal)
    return REFERENCE.sub(lambda found: raw(found[0]), literal)


def raw(text: str) -> str:
    return f"{{% raw %}}{text}{{% endraw %}}"


def texts(value: Any) -> Iterable[str]:
    """All texts of a tree."""
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from texts(item)
        case list():
            for item in value:
                yield from texts(item)


def translated(value: Any, translate: Callable[[str], str]) -> Any:
    """The same tree with every text translated; keys stay."""
    match value:
        case str():
            return translate(value)
        case dict():
            return {key: translated(item, translate) for key, item in value.items()}
        case list():
            return [translated(item, translate) for item in value]
    return value


def reads(value: Any, name: str) -> bool:
    """Whether a tree of templates may read a variable."""
    braces = re.compile(rf"\{{[^{{}}]*\b{re.escape(name)}\b[^{{}}]*\}}")
    return any(braces.search(text) for text in texts(value))
