"""Servers that a file lists: one URL a line, `#` for comments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def listed(text: str, folder: Path) -> Callable[[], list[str]]:
    """The lines of a file, which is read now: it is here, whatever becomes of a cluster."""
    path = folder / Path(text).expanduser()
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as exc:
        raise ValueError(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    urls = [line for line in lines if line]
    if not urls:
        raise ValueError(f"{path} lists no endpoint: one URL a line, up to and including /v1")
    return lambda: urls
