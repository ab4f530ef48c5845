"""Prompts, output trees and filters: text with references, compiled once, filled per record.

`{name}` and `{name.field[0]}` are references to declared variables; `{{ … }}` and `{% … %}` are
Jinja, sandboxed and strict. Everything else in single braces is text. Values are never scanned
again, and they keep their types: an image in a prompt is a part of its own, and a string of an
output tree that is exactly one reference is the value itself.

`references` reads the text, `jinja` compiles what single braces cannot say, `rendering` turns
values into text.
"""

from mirage.template.references import TemplateMistake
from mirage.template.rendering import Piece, as_text
from mirage.template.templates import (
    Expression,
    Template,
    Tree,
    compile_expression,
    compile_text,
    compile_tree,
)

__all__ = [
    "Expression",
    "Piece",
    "Template",
    "TemplateMistake",
    "Tree",
    "as_text",
    "compile_expression",
    "compile_text",
    "compile_tree",
]
