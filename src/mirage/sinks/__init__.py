"""Rows out: parts block by block, then one dataset that appears whole.

`open_sink` is the only way in; it loads a format's libraries when that format is asked for. Shared
by the leaves `jsonl`, `parquet` and `hf`: `images` (what becomes of an image), `dataset` (files and
folders on disk), and for the tables `columns` (types) and `table` (rows to parts).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mirage.config.models import SinkConfig
from mirage.record import Sink

Format = Literal["jsonl", "parquet", "hf"]
SUFFIXES: dict[str, Format] = {".jsonl": "jsonl", ".parquet": "parquet"}


def open_sink(
    config: SinkConfig,
    *,
    base: Path,
    declared: Mapping[str, str],
    source_types: Mapping[str, str] | None = None,
) -> Sink:
    """The sink of a configuration; a relative path is taken from `base`.

    `declared` and, where it is silent, `source_types` name the types of columns that are known
    beforehand: "string", "integer", "number", "boolean", "image" or "images". Raises ValueError
    where the format cannot be told, or contradicts the path.
    """
    path = (base / config.path).resolve()
    kind = format_of(config)
    folder = config.path.endswith("/") or not path.suffix
    folder = folder or (path.suffix.lower() not in SUFFIXES and path.is_dir())
    types = {**(source_types or {}), **declared}
    match kind:
        case "jsonl":
            from mirage.sinks.jsonl import JsonlSink

            return JsonlSink(path, folder)
        case "parquet":
            from mirage.sinks.parquet import ParquetSink

            return ParquetSink(path, folder, types, embed=config.images == "embed")
        case "hf":
            from mirage.sinks.hf import HfSink

            return HfSink(path, types, embed=config.images == "embed")


def format_of(config: SinkConfig) -> Format:
    """The format that is given, or that the suffix of the path names."""
    suffix = Path(config.path).suffix.lower()
    told = None if config.path.endswith("/") else SUFFIXES.get(suffix)
    if config.format is not None:
        if told not in (None, config.format):
            raise ValueError(f"{config.path} does not go with format {config.format!r}")
        return config.format
    if told is None:
        raise ValueError(
            f"the format of {config.path!r} cannot be told: end it in .jsonl or .parquet, "
            "or set `format` to jsonl, parquet or hf"
        )
    return told
