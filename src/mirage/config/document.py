"""YAML text into plain data, with the position of every value.

YAML 1.2, read as data only: a tag that would construct an object is refused, and so are duplicate
keys, keys that are not text, and aliases that multiply. The text may leave one kind of reference
unquoted: a flow-style mapping with one key and no value, `content: {user_prompt}`, is the string
`{user_prompt}` (a block-style mapping is always a mapping).
"""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Any

from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from mirage.errors import ConfigError, Mistake
from mirage.names import NAME, STEPS, Path

NODE_LIMIT = 100_000
"""The most values a document may have, counting what an alias stands for each time."""
DEPTH_LIMIT = 100

_CORE = "tag:yaml.org,2002:"
_REFERENCE = re.compile(NAME + STEPS)
_QUOTES = "put it in quotes"


class Document(Struct, frozen=True):
    """A configuration as written: `data` is plain, `position` says where each value stands."""

    data: dict[str, Any]
    text: str
    root: MappingNode

    def position(self, path: Path, offset: int = 0) -> tuple[int, int]:
        """Line and column, from 1, of the value at `path`, or of the nearest one around it.

        `offset` counts characters from the start of a text; it is followed into block scalars and
        texts on one line, otherwise the start of the text is given.
        """
        node, key = _find(self.root, path)
        return _inside(node, offset, self.text) if offset and key else _start(node)

    def place(self, path: Path) -> tuple[tuple[int, int], tuple[int, int] | None] | None:
        """Line and column at which a key, or an item of a list, begins, and those at which its
        value ends, where that is on one line; None where nothing stands at `path`.
        """
        node, found = _find(self.root, path)
        if not found or not path:
            return None
        mark, one_line = node.end_mark, node.end_mark.line == node.start_mark.line
        start = self.key_position(path) if isinstance(path[-1], str) else _start(node)
        return start, (mark.line + 1, mark.column + 1) if one_line else None

    def key_position(self, path: Path) -> tuple[int, int]:
        """Line and column of the key itself, where `path` ends in one."""
        node, _ = _find(self.root, path[:-1])
        if isinstance(node, MappingNode):
            for key, _ in node.value:
                if key.value == path[-1]:
                    return _start(key)
        return _start(node)


def read_text(path: FilePath) -> str:
    """The text of a YAML file. Raises ConfigError where it is none."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError([Mistake("", "not UTF-8 text", str(path))]) from exc
    except OSError as exc:
        message = f"cannot be read: {exc.strerror or exc}"
        raise ConfigError([Mistake("", message, str(path))]) from exc


def read_document(text: str, file: str = "") -> Document:
    """Read YAML text whose root is a mapping; ConfigError with all that is wrong with it."""
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as exc:
        raise ConfigError([_syntax_mistake(exc, text, file)]) from exc
    except (YAMLError, ValueError) as exc:  # characters that YAML forbids; a broken escape
        raise ConfigError([Mistake("", f"not YAML: {_one_line(exc)}", file)]) from exc
    except RecursionError as exc:
        raise ConfigError([Mistake("", "nested too deeply", file)]) from exc
    if root is None:
        raise ConfigError([Mistake("", "the configuration is empty", file)])
    if not isinstance(root, MappingNode):
        raise ConfigError([Mistake("", "a configuration is a mapping of keys", file, 1, 1)])
    reader = _Reader(file)
    data = reader.mapping(root, ())
    if reader.mistakes:
        raise ConfigError(reader.mistakes)
    return Document(data, text, root)


class _Reader(Struct):
    """Nodes into plain data; what is wrong on the way is collected."""

    file: str
    mistakes: list[Mistake] = []
    count: int = 0
    above: set[int] = set()

    def value(self, node: Node, path: Path) -> Any:
        self.count += 1
        if self.count == NODE_LIMIT:
            self.wrong(node, path, f"more than {NODE_LIMIT} values, aliases counted each time")
        if self.count >= NODE_LIMIT:
            return None
        if id(node) in self.above or len(path) > DEPTH_LIMIT:
            loop = "an alias that contains itself" if id(node) in self.above else ""
            self.wrong(node, path[:10], loop or "nested too deeply")
            return None
        if isinstance(node, ScalarNode):
            return self.scalar(node, path)
        self.above.add(id(node))
        try:
            if isinstance(node, MappingNode):
                reference = as_reference(node)
                return self.mapping(node, path) if reference is None else reference
            return self.sequence(node, path) if isinstance(node, SequenceNode) else None
        finally:
            self.above.discard(id(node))

    def mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        self.tag(node, path, "map")
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.wrong(node if node.flow_style else key, path, _unquoted(key))
                continue
            name, tag = str(key.value), _tag(key)
            if tag == _CORE + "merge":
                self.wrong(key, path, "'<<' is not part of YAML 1.2: repeat the keys")
            elif tag != _CORE + "str":
                self.wrong(key, path, f"the key {name or 'null'} is not text: {_QUOTES}")
            elif name in found:
                self.wrong(key, (*path, name), "duplicate key")
            elif self.scalar(key, path) is not None:
                found[name] = self.value(value, (*path, name))
        return found

    def sequence(self, node: SequenceNode, path: Path) -> list[Any]:
        self.tag(node, path, "seq")
        return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]

    def scalar(self, node: ScalarNode, path: Path) -> Any:
        try:
            match _tag(node).removeprefix(_CORE):
                case "str" | "timestamp":  # dates are not part of YAML 1.2's core schema
                    str(node.value).encode()  # half a surrogate pair is no text
                    return str(node.value)
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[node.value.lower()]
                case "int":
                    digits = node.value.replace("_", "")
                    return int(digits, 0 if re.match(r"[-+]?0[xob]", digits) else 10)
                case "float":
                    return _number(node.value)
        except (ValueError, KeyError):
            self.wrong(node, path, f"{node.value!r} cannot be read: {_QUOTES}")
            return None
        self.wrong(node, path, f"the tag {_tag(node)} is refused: only plain data is read")
        return None

    def tag(self, node: Node, path: Path, kind: str) -> None:
        if _tag(node) != _CORE + kind:
            self.wrong(node, path, f"the tag {_tag(node)} is refused: only plain data is read")

    def wrong(self, node: Node, path: Path, message: str) -> None:
        self.mistakes.append(Mistake(written(path), message, self.file, *_start(node)))


def written(path: Path) -> str:
    """A path as messages show it: `outputs[0].prompt`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def as_reference(node: MappingNode) -> str | None:
    """`{name}` unquoted: the reference that a flow-style mapping stands for, if it does."""
    if not node.flow_style or len(node.value) != 1:
        return None
    key, value = node.value[0]
    empty = isinstance(value, ScalarNode) and value.value == "" and value.style is None
    plain = isinstance(key, ScalarNode) and key.style is None
    if empty and plain and _tag(value) == _CORE + "null" and _REFERENCE.fullmatch(key.value):
        return f"{{{key.value}}}"
    return None


def _tag(node: Node) -> str:
    return str(node.tag)


def _number(text: str) -> float:
    text = text.replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _unquoted(key: Node) -> str:
    if isinstance(key, MappingNode) and key.flow_style:
        return f"braces that YAML reads as a mapping: {_QUOTES}"
    return "a key must be text"


def _find(node: Node, path: Path) -> tuple[Node, bool]:
    """The node at `path` and True, or the nearest one around it and False."""
    for step in path:
        below = None
        if isinstance(node, MappingNode):
            pairs = [value for key, value in node.value if key.value == step]
            below = pairs[0] if pairs else None
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
            below = node.value[step]
        if below is None:
            return node, False
        node = below
    return node, True


def _start(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _inside(node: Node, offset: int, text: str) -> tuple[int, int]:
    """Where character `offset` of a text stands: block scalars line by line, others on one line."""
    line, column = _start(node)
    if not isinstance(node, ScalarNode):
        return line, column
    if node.style == "|":
        before = node.value[:offset].split("\n")
        line += len(before)
        source = (text.split("\n")[line - 1 :] or [""])[0]
        value_line = node.value.split("\n")[len(before) - 1]
        return line, len(source.rstrip()) - len(value_line.rstrip()) + len(before[-1]) + 1
    one_line = node.end_mark.line == node.start_mark.line
    if not one_line or node.style == ">" or "\\" in text[node.start_mark.index :][:offset]:
        return line, column
    return line, column + offset + (1 if node.style else 0)


def _syntax_mistake(exc: MarkedYAMLError, text: str, file: str) -> Mistake:
    mark = exc.problem_mark or exc.context_mark
    if mark is None:
        return Mistake("", f"not YAML: {_one_line(exc)}", file)
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    hint = f"; a value that holds braces: {_QUOTES}" if re.search(r"[:-] +\{", line) else ""
    problem = _one_line(exc.problem or exc.context or "")
    return Mistake("", f"not YAML: {problem}{hint}", file, mark.line + 1, mark.column + 1)


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())
