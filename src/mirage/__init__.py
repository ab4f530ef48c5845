"""MIRAGE turns the multimodal dataset that you have into the one that you need.

    import mirage
    summary = mirage.run("config.yaml", source="rows.jsonl", sink="out/train.jsonl")

Everything else is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirage.api import load_config, preview, run
    from mirage.dataset import convert, inspect, verify
    from mirage.mixture import load_mimicit, load_mixture

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "convert",
    "inspect",
    "load_config",
    "load_mimicit",
    "load_mixture",
    "preview",
    "run",
    "verify",
]
HOMES = dict.fromkeys(["convert", "inspect", "verify"], "mirage.dataset")
HOMES |= dict.fromkeys(["load_mimicit", "load_mixture"], "mirage.mixture")


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(HOMES.get(name, "mirage.api")), name)
    raise AttributeError(f"module 'mirage' has no attribute '{name}'")
