"""What request keys call a model: its name and what else decides its answers; where its files are
here, a hash that does not take minutes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

WHOLE = 64 << 20
SAMPLE, SAMPLES = 64 << 10, 64
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
DESCRIBED = (".json", ".jinja", ".model", ".txt", ".py", *WEIGHTS)


def qualified(name: str, extras: Mapping[str, Any]) -> str:
    """A model's name with a hash of what else decides its answers, where there is anything."""
    if not extras:
        return name
    dumped = orjson.dumps(extras, option=orjson.OPT_SORT_KEYS, default=str)
    return f"{name}+{hashlib.blake2b(dumped, digest_size=8).hexdigest()}"


def content_digest(path: Path) -> str:
    """A hash of a model file that does not take minutes: of all of it up to 64 MiB, else of its
    size, its first 64 MiB (where all metadata are) and 64 samples spread over the rest.
    """
    size = path.stat().st_size
    hashed = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        hashed.update(file.read(WHOLE))
        if size > WHOLE:
            for i in range(SAMPLES):
                file.seek(WHOLE + (size - WHOLE - SAMPLE) * i // (SAMPLES - 1))
                hashed.update(file.read(SAMPLE))
    return hashed.hexdigest()[:32]


def folder_digest(folder: Path) -> str:
    """Of all that decides what a checkpoint answers: weights, configuration, tokenizer, code."""
    hashed = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.endswith(DESCRIBED):
            hashed.update(f"{path.name} {content_digest(path)}\n".encode())
    return hashed.hexdigest()
