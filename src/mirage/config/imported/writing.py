"""Plain data as YAML that a person would write, with comments where they belong.

Only what YAML 1.2 reads back as the same data is written: a text that could be taken for something
else is quoted, and one of several lines is a block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from mirage.names import Path

PLAIN = re.compile(r"(?:[a-z]+://|\.{0,2}/)?[A-Za-z_](?:[\w .@+/()\[\]-]*[\w.@+/()\]-])?", re.ASCII)
WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
STEP = "  "


class Comment(Struct, frozen=True):
    """The lines above a key or an item, without indentation, and what stands behind it."""

    above: tuple[str, ...] = ()
    beside: str = ""


Comments = Callable[[Path], Comment]


def to_yaml(data: Mapping[str, Any], comments: Comments = lambda path: Comment()) -> str:
    """A mapping as a document, with an empty line between its keys."""
    blocks = ["\n".join(_entry(key, value, (key,), comments)) for key, value in data.items()]
    return "\n\n".join(blocks) + "\n"


def _lines(value: Any, path: Path, comments: Comments) -> list[str]:
    """A mapping or a list that holds something, not indented."""
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            lines += _entry(key, item, (*path, key), comments)
        return lines
    for index, item in enumerate(value):
        comment = comments((*path, index))
        lines += [f"# {line}" for line in comment.above]
        if _nested(item):
            first, *rest = _lines(item, (*path, index), comments)
            while first.startswith("#"):
                lines.append(first)
                first, *rest = rest
            lines += [f"- {first}", *(STEP + line if line else "" for line in rest)]
        else:
            lines += _scalar("- ", item, comment.beside)
    return lines


def _entry(key: str, value: Any, path: Path, comments: Comments) -> list[str]:
    comment = comments(path)
    lines = [f"# {line}" for line in comment.above]
    if not _nested(value):
        return lines + _scalar(f"{_word(key)}: ", value, comment.beside)
    beside = f"  # {comment.beside}" if comment.beside else ""
    lines.append(f"{_word(key)}:{beside}")
    return lines + [STEP + line if line else "" for line in _lines(value, path, comments)]


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list) and bool(value)


def _scalar(before: str, value: Any, beside: str) -> list[str]:
    behind = f"  # {beside}" if beside else ""
    if isinstance(value, str) and _is_block(value):
        head, *body = _block(value)
        return [before + head + behind, *(STEP + line if line else "" for line in body)]
    return [before + _word(value) + behind]


def _word(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    if isinstance(value, str) and '"' in value and value.isprintable() and "'" not in value:
        return f"'{value}'"
    return re.sub(r"[^ -~]", escaped, json.dumps(value, ensure_ascii=False))


def escaped(match: re.Match[str]) -> str:
    """A character that cannot be seen, as YAML writes it in quotes."""
    code = ord(match[0])
    form = f"\\x{code:02x}" if code < 1 << 8 else f"\\u{code:04x}"
    return match[0] if match[0].isprintable() else form if code < 1 << 16 else f"\\U{code:08x}"


def _is_block(text: str) -> bool:
    """Whether a text can stand as lines: it has several, and nothing that YAML would change."""
    lines = text.split("\n")
    return (
        len(lines) > 1
        and not text.endswith("\n\n")
        and text.replace("\n", "").replace("\t", "").isprintable()
        and bool(text.strip("\n"))
        and not any(line and not line.strip(" ") for line in lines)
    )


def _block(text: str) -> list[str]:
    body = text.removesuffix("\n")
    first = next(line for line in body.split("\n") if line)
    indented = "2" if first[:1] in (" ", "\t") else ""
    return [f"|{indented}{'' if text.endswith(chr(10)) else '-'}", *body.split("\n")]
