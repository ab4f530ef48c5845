"""Servers of llama.cpp that were closed and cannot be freed yet.

llama.cpp remembers the vocabulary that it last made a schema's constraint for by its address alone
(`common/llguidance.cpp`). A model that is loaded later, at the address of one that has been freed,
is then constrained in the other one's tokens: what it writes is nonsense, or the process is
aborted. So a server that has kept to schemas, or scored choices, outlives its end, until another
one has.
"""

from __future__ import annotations

from typing import Any

_closed: list[Any] = []


def keep(server: Any) -> None:
    """Do not free a server that was closed."""
    _closed.append(server)


def kept() -> list[Any]:
    return [*_closed]


def release(servers: list[Any]) -> None:
    """Free those that had been closed before another server began to keep to a schema."""
    _closed[:] = [server for server in _closed if not any(server is each for each in servers)]
