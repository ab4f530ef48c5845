"""MIRAGE turns the multimodal dataset that you have into the one that you need.

    import mirage
    summary = mirage.run("config.yaml", source="rows.jsonl", sink="out/train.jsonl")

Everything else is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirage.api import load_config, preview, run

__version__ = "0.1.0"
__all__ = ["__version__", "load_config", "preview", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from mirage import api

        return getattr(api, name)
    raise AttributeError(f"module 'mirage' has no attribute '{name}'")
