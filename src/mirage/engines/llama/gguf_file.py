"""What a GGUF file says of its model: read from its header, without a library and without tensors.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian)
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from msgspec import Struct

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?"}
SCALARS |= {10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
CONTROL, UNKNOWN = 3, 2


class ModelFile(Struct, frozen=True):
    """`context` is the longest context that the model was trained for, in tokens (0: not given).

    `control` are the strings that stand for control tokens when a prompt is read as a template.
    """

    name: str
    context: int
    control: frozenset[str]


def read_model_file(path: Path) -> ModelFile:
    """Raises OSError, and ValueError where the file is no GGUF file or is torn."""
    with path.open("rb") as file:
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as exc:
            raise ValueError(f"{path} is empty") from exc
        with mapped:
            try:
                values = _Reader(mapped).metadata()
            except (struct.error, UnicodeDecodeError, KeyError) as exc:
                raise ValueError(f"{path} is not a whole GGUF file") from exc
    arch = values.get("general.architecture", "")
    tokens, kinds = values.get("tokenizer.ggml.tokens", []), values.get("tokenizer.ggml.token_type")
    control = {
        t for t, k in zip(tokens, kinds or [], strict=False) if k in (CONTROL, UNKNOWN) and t
    }
    context = values.get(f"{arch}.context_length", 0)
    return ModelFile(values.get("general.name", path.stem), context, frozenset(control))


class _Reader:
    """A cursor over the header."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def metadata(self) -> dict[str, Any]:
        if self._data[:4] != b"GGUF":
            raise KeyError("magic")
        self._at = 4
        version, _tensors, count = self._take("<IQQ")
        if version not in (2, 3):
            raise KeyError("version")
        return dict(self._pair() for _ in range(count))

    def _pair(self) -> tuple[str, Any]:
        key = self._string()
        (kind,) = self._take("<I")
        return key, self._value(kind)

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind != ARRAY:
            return self._take(f"<{SCALARS[kind]}")[0]
        inner, length = self._take("<IQ")
        if length > len(self._data):
            raise KeyError("length")
        if inner in SCALARS:
            return self._take(f"<{length}{SCALARS[inner]}")
        return [self._value(inner) for _ in range(length)]

    def _string(self) -> str:
        (length,) = self._take("<Q")
        start, self._at = self._at, self._at + length
        if self._at > len(self._data):
            raise KeyError("length")
        return self._data[start : self._at].decode(errors="replace")

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return values
