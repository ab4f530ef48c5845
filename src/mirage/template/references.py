"""Single braces: which of them are references, to what, and what is wrong with them.

`{name}` and `{name.field[0]}` refer to a declared variable. Braces that hold a name which nobody
declared are a mistake, with a suggestion; braces that hold anything else are text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from mirage.names import NAME, STEPS, Path, parse_path, suggest

_REFERENCE = re.compile(rf"\{{[ \t]*({NAME}{STEPS})[ \t]*\}}")


class TemplateMistake(ValueError):  # noqa: N818
    """A mistake in a template. `offset` counts characters from the start of its text.

    `path` leads to the text within a tree (empty for a text of its own). `together` holds every
    mistake of the template, this one first.
    """

    def __init__(self, message: str, offset: int = 0, path: Path = ()) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.path = path
        self.together: tuple[TemplateMistake, ...] = (self,)

    def at(self, path: Path) -> TemplateMistake:
        return TemplateMistake(self.message, self.offset, path)


def raise_all(mistakes: list[TemplateMistake]) -> None:
    """Raise the first of the mistakes, which holds them all; nothing where there are none."""
    if mistakes:
        first = mistakes[0]
        first.together = tuple(mistakes)
        raise first


class Reference(Struct, frozen=True):
    """`{name.field[0]}` in a text: `path` as written, which stands at `start` to `stop`."""

    path: Path
    start: int
    stop: int


class Scope(Struct, frozen=True):
    """What a template may refer to: variables, and the bare keys of JSON outputs.

    `aliases` maps a bare key to its path, `{"question": ("output_dict", "question")}`; `ambiguous`
    maps one that several outputs have to these outputs. `images` are the variables that hold
    images: null or an empty list of theirs is no text, but nothing at all.
    """

    names: Collection[str]
    aliases: Mapping[str, Path] = {}
    ambiguous: Mapping[str, Collection[str]] = {}
    images: Collection[str] = ()

    def declares(self, name: str) -> bool:
        return name in self.names or name in self.aliases or name in self.ambiguous

    def resolve(self, path: Path, offset: int = 0) -> Path:
        """The path from the variables on; TemplateMistake where the first name is unknown."""
        name = str(path[0])
        if name in self.names:
            return path
        if name in self.aliases:
            return (*self.aliases[name], *path[1:])
        if name in self.ambiguous:
            owners = sorted(self.ambiguous[name])
            fix = " or ".join(f"{{{owner}.{name}}}" for owner in owners)
            message = f"'{name}' is a key of {' and '.join(owners)}: write {fix}"
            raise TemplateMistake(message, offset)
        near = suggest(name, {*self.names, *self.aliases, *self.ambiguous})
        raise TemplateMistake(f"unknown variable '{name}'{near}", offset)


def find_references(text: str) -> Iterator[Reference]:
    """The references by shape, in order, whether their variables are declared or not."""
    for match in _REFERENCE.finditer(text):
        path = parse_path(match[1])
        if path is not None:
            yield Reference(path, *match.span())
