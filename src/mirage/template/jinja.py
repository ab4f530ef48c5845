"""Jinja as templates may use it: sandboxed, strict, and without Python behind the values.

An attribute is an item of a mapping, never a method. What a template yields is not joined to one
string: strings and images are collected, so that an image keeps its place. Comments do not exist,
so that `{#12}` is text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, Undefined, nodes, pass_environment
from jinja2.compiler import Frame
from jinja2.environment import Environment, Template
from jinja2.filters import make_attrgetter
from jinja2.meta import find_undeclared_variables
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace

from mirage.errors import TemplateError
from mirage.names import MISSING, Path, format_path, getter, suggest
from mirage.template.references import Scope, TemplateMistake, find_references
from mirage.template.rendering import as_text, enter, enter_images, gather, to_json

_OWN = (LoopContext, Cycler, Joiner, Namespace, Macro, TemplateReference)
_LOADING = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class _PartsGenerator(NativeCodeGenerator):
    """Generates code that yields values as they are, and joins with `~` by our rules."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class _Jinja(ImmutableSandboxedEnvironment):
    code_generator_class = _PartsGenerator
    concat = staticmethod(gather)

    @staticmethod
    def joined(values: Sequence[Any]) -> str:
        return "".join(as_text(value) for value in values)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute in obj:
            return obj[attribute]
        if isinstance(obj, _OWN) and not attribute.startswith("_"):
            found = getattr(obj, attribute, MISSING)
            if found is not MISSING:
                return found
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        try:
            return obj[argument]
        except (TypeError, LookupError):
            return self.undefined(f"the value has no item {argument!r}", obj, argument)


def _walk(value: Any, label: str, *path: str | int) -> Any:
    """`{name.field[0]}` among Jinja: the same look-up as without Jinja, the same error."""
    found = getter(("", *path))({"": value})
    if found is MISSING:
        raise TemplateError("missing", f"{{{label}}}: the value has no such item")
    return found


@pass_environment
def _join(environment: Environment, value: Any, d: Any = "", attribute: Any = None) -> str:
    if attribute is not None:
        value = map(make_attrgetter(environment, attribute), value)
    return as_text(d).join(as_text(item) for item in value)


def _environment() -> _Jinja:
    made = _Jinja(
        comment_start_string="\0{#",
        comment_end_string="#}\0",
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        finalize=enter,
        auto_reload=False,
    )
    # A template is a pure function of its values: resuming a run renders it again.
    del made.globals["lipsum"], made.filters["random"]
    # `attr` reaches past the items; HTML's escapes have no place in a prompt.
    del made.filters["attr"]
    made.filters |= {"string": as_text, "join": _join, "tojson": to_json}
    made.filters |= {"_walk": _walk, "_images": enter_images}
    return made


_ENVIRONMENT = _environment()
# Jinja's own names (`range`) give way to declared ones, hence are looked up like any other.
_NO_GLOBALS = _ENVIRONMENT.overlay()
_NO_GLOBALS.globals = {}
_WORDS = frozenset(
    ["true", "false", "none", "True", "False", "None", "and", "else", "if", "in", "is", "not", "or"]
)


def has_jinja(text: str) -> bool:
    return "{{" in text or "{%" in text


def parse_text(text: str, scope: Scope, mistakes: list[TemplateMistake]) -> nodes.Template:
    """The syntax tree of a text in which references in single braces have become Jinja's."""
    text = re.sub(r"\r\n?", "\n", text)  # as Jinja's own lexer does
    try:
        return _checked(_ENVIRONMENT.parse(_rewrite(text, scope, mistakes)), text, scope, mistakes)
    except TemplateSyntaxError as exc:
        mistakes.append(_syntax_mistake(exc, text))
        return nodes.Template([], lineno=1)


def parse_expression(text: str, scope: Scope, mistakes: list[TemplateMistake]) -> nodes.Expr:
    """The syntax tree of one expression, as a filter has it."""
    try:
        parser = Parser(_ENVIRONMENT, text, state="variable")
        expression = parser.parse_expression()
        if not parser.stream.eos:
            token = parser.stream.current
            raise TemplateSyntaxError(f"unexpected '{token.value}'", token.lineno)
        expression.set_environment(_ENVIRONMENT)
        _checked(nodes.Template([nodes.ExprStmt(expression)], lineno=1), text, scope, mistakes)
        return expression
    except TemplateSyntaxError as exc:
        mistakes.append(_syntax_mistake(exc, text))
        return nodes.Const(None, lineno=1)


def variables(body: Iterable[nodes.Node], scope: Scope) -> set[str]:
    """The names that statements, or an expression, look up outside themselves."""
    stated = [node if isinstance(node, nodes.Stmt) else nodes.ExprStmt(node) for node in body]
    tree = nodes.Template(stated, lineno=1)
    tree.set_environment(_NO_GLOBALS)
    found = find_undeclared_variables(tree)
    return {name for name in found if name not in _ENVIRONMENT.globals or scope.declares(name)}


def as_path(node: nodes.Node) -> Path | None:
    """The path of a plain reference, `{{ a }}` or `{{ a.b }}`; None for anything else."""
    match node:
        case nodes.Name():
            return (node.name,)
        case nodes.Getattr():
            path = as_path(node.node)
            return None if path is None else (*path, node.attr)
        case nodes.Filter(name="_walk", node=nodes.Name(name=name)):
            return (name, *(step.as_const() for step in node.args[1:]))
    return None


def renderer(tree: nodes.Template, images: set[str]) -> Callable[[Mapping[str, Any]], list[Any]]:
    """The compiled template: a function of its variables that gives what stands in the text."""
    for output in tree.find_all(nodes.Output):
        output.nodes = [_image(node) if _names(node, images) else node for node in output.nodes]
    template = _ENVIRONMENT.from_string(tree)
    return lambda values: [gather(template.root_render_func(_context(template, values)))]


def _context(template: Template, values: Mapping[str, Any]) -> Context:
    """What a template runs in. `Template.new_context` does the same at five times the cost."""
    known = {**_ENVIRONMENT.globals, **values}
    return Context(_ENVIRONMENT, known, template.name, template.blocks)


def evaluator(expression: nodes.Expr) -> Callable[[Mapping[str, Any]], Any]:
    """The compiled expression: a function of its variables that gives the value itself."""
    target = nodes.Name("_value", "store", lineno=1)
    tree = nodes.Template([nodes.Assign(target, expression, lineno=1)], lineno=1)
    template = _ENVIRONMENT.from_string(tree)

    def evaluate(values: Mapping[str, Any]) -> Any:
        context = _context(template, values)
        for _ in template.root_render_func(context):
            pass
        return _settled(context.vars["_value"])

    return evaluate


def _settled(value: Any) -> Any:
    """A value that can leave Jinja: lazy sequences made lists, marked-up text plain."""
    if isinstance(value, Undefined):
        return str(value)  # raises UndefinedError, except for a condition without `else`
    if isinstance(value, str):
        return str(value)
    return list(value) if isinstance(value, (Iterator, range, set, tuple)) else value


def _names(node: nodes.Expr, images: set[str]) -> bool:
    return isinstance(node, nodes.Name) and node.name in images


def _image(node: nodes.Expr) -> nodes.Expr:
    made = nodes.Filter(node, "_images", [], [], None, None, lineno=node.lineno)
    made.set_environment(_ENVIRONMENT)
    return made


def _rewrite(text: str, scope: Scope, mistakes: list[TemplateMistake]) -> str:
    """`{name.field}` outside Jinja and `raw` becomes Jinja's own; line breaks stay where they are.

    The tokens carry no offsets, but they follow one another in the text; only blanks that `{%-`
    strips are left out of them.
    """
    edits: list[tuple[int, int, str]] = []
    position, raw = 0, False
    for _, kind, token in _ENVIRONMENT.lexer.tokeniter(text, None):
        position = text.index(token, position)
        if kind == "data" and not raw:
            for found in find_references(token):
                start, stop = position + found.start, position + found.stop
                edits.append((start, stop, _as_jinja(found.path)))
                try:
                    scope.resolve(found.path, start)
                    if found.path[0] in _WORDS:
                        message = f"'{found.path[0]}' is a word of Jinja: name the variable anew"
                        mistakes.append(TemplateMistake(message, start))
                except TemplateMistake as mistake:
                    mistakes.append(mistake)
        raw = kind == "raw_begin" or (raw and kind != "raw_end")
        position += len(token)
    for start, stop, edit in reversed(edits):
        text = text[:start] + edit + text[stop:]
    return text


def _as_jinja(path: Path) -> str:
    name, *steps = path
    walk = f"|_walk({', '.join(map(repr, (format_path(path), *steps)))})" if steps else ""
    return f"{{{{ {name}{walk} }}}}"


def _checked(
    tree: nodes.Template, text: str, scope: Scope, mistakes: list[TemplateMistake]
) -> nodes.Template:
    """Report what can be known before any record: unknown names, methods, loading of files."""
    known = {mistake.message for mistake in mistakes}
    undeclared = variables(tree.body, scope)
    for name in sorted(undeclared):
        try:
            scope.resolve((name,))
        except TemplateMistake as mistake:
            if mistake.message not in known:
                mistakes.append(TemplateMistake(mistake.message, _find(name, tree, text)))
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr) and not _is_local(call.node, undeclared):
            method = call.node.attr
            fix = (
                f"use the filter '| {method}'" if method in _ENVIRONMENT.filters else "use a filter"
            )
            offset = _line(text, call.lineno)
            mistakes.append(TemplateMistake(f"methods cannot be called: {fix}", offset))
    for node in tree.find_all(_LOADING):
        message = "a template cannot load another"
        mistakes.append(TemplateMistake(message, _line(text, node.lineno)))
    return tree


def _is_local(node: nodes.Expr, undeclared: set[str]) -> bool:
    """Whether a chain of attributes starts at a name of the template's own, such as `loop`."""
    while isinstance(node, nodes.Getattr):
        node = node.node
    return isinstance(node, nodes.Name) and node.name not in undeclared


def _syntax_mistake(exc: TemplateSyntaxError, text: str) -> TemplateMistake:
    message = exc.message or "syntax error"
    if match := re.search(r"No (filter|test) named '(\w+)'", message):
        known = _ENVIRONMENT.filters if match[1] == "filter" else _ENVIRONMENT.tests
        message = f"unknown {match[1]} '{match[2]}'" + suggest(match[2], known)
    return TemplateMistake(f"Jinja: {message}", _line(text, exc.lineno))


def _find(name: str, tree: nodes.Template, text: str) -> int:
    """Where in the text a name is first read."""
    lines = [node.lineno for node in tree.find_all(nodes.Name) if node.name == name]
    start = _line(text, min(lines, default=1))
    match = re.compile(rf"\b{name}\b").search(text, start)
    return match.start() if match else start


def _line(text: str, number: int) -> int:
    """The offset of what stands first in line `number`, counted from 1."""
    start = 0
    for _ in range(number - 1):
        start = text.find("\n", start) + 1
    return start + len(text[start:]) - len(text[start:].lstrip(" \t"))
