"""A store in memory, which stands for all others: fsspec's `memory://`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import pytest


@pytest.fixture
def store() -> Iterator[Any]:
    """The objects of `memory://`, none at first."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()


def names(store: Any, folder: str) -> list[str]:
    """The objects below a folder, by their names from there."""
    return sorted(name.removeprefix(f"{folder}/") for name in store.find(folder))
