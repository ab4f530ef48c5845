"""What a configuration's texts become: prompts, output trees and filters, compiled once.

A text whose references are all plain never goes through Jinja: it is a list of literals and
look-ups. Anything else is a compiled Jinja template over the variables that it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from jinja2 import UndefinedError, nodes
from msgspec import Struct

from mirage.errors import TemplateError, boundary
from mirage.names import MISSING, Getter, Path, format_path, getter
from mirage.template import jinja
from mirage.template.references import Scope, TemplateMistake, find_references, raise_all
from mirage.template.rendering import Piece, enter, enter_images, merge

Values = Mapping[str, Any]


class Template(Struct, frozen=True):
    """A text to fill. `needs` names the variables that it reads."""

    needs: frozenset[str]
    _render: Callable[[Values], Sequence[Any]]

    def parts(self, values: Values) -> tuple[Piece, ...]:
        """The text with `values` filled in; images stand at their places, once per mention.

        Raises TemplateError of kind "null" where null would enter text, "missing" where a path
        leads nowhere, "type" where a value has no form as text, "render" for the rest.
        """
        rendered = self._render(values)
        try:
            text = "".join(rendered)
        except TypeError:
            return merge(rendered)
        return (text,) if text else ()

    def text(self, values: Values) -> str:
        """The same where only text may stand: an image is a TemplateError of kind "image"."""
        rendered = self._render(values)
        try:
            return "".join(rendered)
        except TypeError:
            raise TemplateError("image", "an image cannot stand in this text") from None


class Tree(Struct, frozen=True):
    """A tree of values to fill. `needs` names the variables that it reads."""

    needs: frozenset[str]
    value: Callable[[Values], Any]
    """The tree, made anew, with `values` filled in; raises TemplateError as `Template.parts`."""


class Expression(Struct, frozen=True):
    """A Jinja expression. `needs` names the variables that it reads."""

    needs: frozenset[str]
    value: Callable[[Values], Any]

    def __call__(self, values: Values) -> bool:
        """Whether it holds; TemplateError of kind "missing" where it reads what is not there."""
        return bool(self.value(values))


def compile_text(
    text: str,
    names: Collection[str],
    *,
    aliases: Mapping[str, Path] | None = None,
    ambiguous: Mapping[str, Collection[str]] | None = None,
    images: Collection[str] = (),
) -> Template:
    """Compile a prompt, or any other text, over the declared variables `names`.

    `aliases` gives bare keys of JSON outputs their paths, `{"question": ("output_dict",
    "question")}`; `ambiguous` those that several outputs have, with these outputs. `images` names
    the variables that hold images: where one is null, nothing stands at its place. Raises
    TemplateMistake, with all mistakes of the text in `together`.
    """
    scope = Scope(names, aliases or {}, ambiguous or {}, images)
    mistakes: list[TemplateMistake] = []
    template = _template(text, scope, mistakes)
    raise_all(mistakes)
    return template


def compile_tree(
    tree: Any,
    names: Collection[str],
    *,
    aliases: Mapping[str, Path] | None = None,
    ambiguous: Mapping[str, Collection[str]] | None = None,
) -> Tree:
    """Compile an output tree: any nesting of mappings, lists and scalars; keys stay as they are.

    A string that is exactly one reference, in either style, is the value itself, whatever its
    type; any other string is text. Raises TemplateMistake, whose `path` leads to the string.
    """
    scope = Scope(names, aliases or {}, ambiguous or {})
    mistakes: list[TemplateMistake] = []
    needs: set[str] = set()
    value = _tree(tree, (), scope, needs, mistakes)
    raise_all(mistakes)
    return Tree(frozenset(needs), value)


def compile_expression(
    text: str,
    names: Collection[str],
    *,
    aliases: Mapping[str, Path] | None = None,
    ambiguous: Mapping[str, Collection[str]] | None = None,
) -> Expression:
    """Compile a filter's expression, such as `answer | length > 20`; names stand without braces."""
    scope = Scope(names, aliases or {}, ambiguous or {})
    mistakes: list[TemplateMistake] = []
    parsed = jinja.parse_expression(text, scope, mistakes)
    if mistakes and any(find_references(text)):
        mistakes[0] = TemplateMistake(
            "names stand without braces in an expression", mistakes[0].offset
        )
    raise_all(mistakes)
    used = _variables([parsed], scope)
    return Expression(_roots(used.values()), _evaluate(parsed, used))


class _Slot:
    """A plain reference in a text: looked up in the values, checked as it enters."""

    __slots__ = ("get", "image", "label")

    def __init__(self, path: Path, scope: Scope) -> None:
        resolved = scope.resolve(path)
        self.get: Getter = getter(resolved)
        self.label = f"{{{format_path(path)}}}"
        self.image = len(resolved) == 1 and resolved[0] in scope.images

    def enter(self, value: Any) -> Any:
        value = _present(value, self.label)
        return enter_images(value) if self.image else enter(value, self.label)


def _present(value: Any, label: str) -> Any:
    if value is MISSING:
        raise TemplateError("missing", f"{label}: the value has no such item")
    return value


def _template(text: str, scope: Scope, mistakes: list[TemplateMistake]) -> Template:
    before = len(mistakes)
    pieces: list[str | Path] | None
    if not jinja.has_jinja(text):
        pieces = _pieces(text, scope, mistakes)
        parsed = nodes.Template([], lineno=1)
    else:
        parsed = jinja.parse_text(text, scope, mistakes)
        pieces = _plain(parsed)
    if len(mistakes) > before:
        return Template(frozenset(), lambda values: ())
    if pieces is not None:
        paths = [scope.resolve(piece) for piece in pieces if not isinstance(piece, str)]
        slots = [piece if isinstance(piece, str) else _Slot(piece, scope) for piece in pieces]
        return Template(_roots(paths), _fill(slots))
    used = _variables(parsed.body, scope)
    render = jinja.renderer(parsed, {name for name in used if name in scope.images})
    return Template(_roots(used.values()), _bind(render, used))


def _pieces(text: str, scope: Scope, mistakes: list[TemplateMistake]) -> list[str | Path]:
    """Literals and paths in turn."""
    pieces: list[str | Path] = []
    position = 0
    for found in find_references(text):
        try:
            scope.resolve(found.path, found.start)
        except TemplateMistake as mistake:
            mistakes.append(mistake)
        pieces += [text[position : found.start], found.path]
        position = found.stop
    return [piece for piece in (*pieces, text[position:]) if piece]


def _plain(tree: nodes.Template) -> list[str | Path] | None:
    """Literals and paths in turn, where a Jinja text holds nothing else; None otherwise."""
    pieces: list[str | Path] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            piece = node.data if isinstance(node, nodes.TemplateData) else jinja.as_path(node)
            if piece is None:
                return None
            pieces.append(piece)
    return pieces


def _fill(slots: Sequence[str | _Slot]) -> Callable[[Values], Sequence[Any]]:
    """This runs once per record and prompt: strings take the short way."""

    def fill(values: Values) -> Sequence[Any]:
        filled = []
        for slot in slots:
            if isinstance(slot, str):
                filled.append(slot)
                continue
            value = slot.get(values)
            filled.append(value if type(value) is str else slot.enter(value))
        return filled

    return fill


def _tree(
    tree: Any, path: Path, scope: Scope, needs: set[str], mistakes: list[TemplateMistake]
) -> Callable[[Values], Any]:
    if isinstance(tree, Mapping):
        items = [
            (key, _tree(value, (*path, key), scope, needs, mistakes)) for key, value in tree.items()
        ]
        return lambda values: {key: value(values) for key, value in items}
    if isinstance(tree, (list, tuple)):
        entries = [
            _tree(value, (*path, index), scope, needs, mistakes) for index, value in enumerate(tree)
        ]
        return lambda values: [entry(values) for entry in entries]
    if not isinstance(tree, str):
        return lambda values: tree
    found: list[TemplateMistake] = []
    leaf = _leaf(tree, scope, found)
    mistakes.extend(mistake.at(path) for mistake in found)
    needs |= leaf.needs
    return leaf.value


def _leaf(text: str, scope: Scope, mistakes: list[TemplateMistake]) -> Tree:
    """A string of a tree: one whole reference, or text."""
    template = _template(text, scope, mistakes)
    if mistakes or not template.needs:
        return Tree(template.needs, template.text)
    whole = _whole(text, scope)
    if whole is None:
        return Tree(template.needs, template.text)
    path = jinja.as_path(whole)
    if path is None:
        return Tree(template.needs, _evaluate(whole, _variables([whole], scope)))
    get, label = getter(scope.resolve(path)), f"{{{format_path(path)}}}"
    return Tree(
        template.needs,
        lambda values: v if (v := get(values)) is not MISSING else _present(v, label),
    )


def _whole(text: str, scope: Scope) -> nodes.Expr | None:
    """The expression that a text consists of, where it is one and nothing else."""
    match jinja.parse_text(text, scope, []).body:
        case [nodes.Output(nodes=[nodes.Expr() as whole])] if not isinstance(
            whole, nodes.TemplateData
        ):
            return whole
    return None


def _variables(body: Sequence[nodes.Node], scope: Scope) -> dict[str, Path]:
    """The names that Jinja looks up, and the path of each from the variables on."""
    return {name: scope.resolve((name,)) for name in sorted(jinja.variables(body, scope))}


def _roots(paths: Collection[Path]) -> frozenset[str]:
    return frozenset(str(path[0]) for path in paths)


def _evaluate(expression: nodes.Expr, used: Mapping[str, Path]) -> Callable[[Values], Any]:
    return _bind(jinja.evaluator(expression), used)


def _bind(call: Callable[[Values], Any], used: Mapping[str, Path]) -> Callable[[Values], Any]:
    """Hand Jinja the variables that it reads, and nothing else; what it raises is ours."""
    getters = [(name, getter(path)) for name, path in used.items()]

    def bound(values: Values) -> Any:
        known = {}
        for name, get in getters:
            if (value := get(values)) is not MISSING:
                known[name] = value
        with boundary(TemplateError, "render"):
            try:
                return call(known)
            except UndefinedError as exc:
                raise TemplateError("missing", str(exc.message)) from exc

    return bound
