"""YAML and prompt files that ship with the package."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML


@cache
def load(name: str) -> Any:
    """A YAML file of this folder as plain data."""
    return YAML(typ="safe", pure=True).load((files(__name__) / name).read_text("utf-8"))
