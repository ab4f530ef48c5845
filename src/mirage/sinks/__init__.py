"""Rows out: parts block by block, then one dataset that appears whole.

`open_sink` is the only way in; it loads a format's libraries when that format is asked for. Shared
by the leaves `jsonl`, `parquet`, `hf`, `webdataset` and `imagefolder`: `images` (what becomes of an
image), `dataset` (files and folders on disk), for the tables `columns` (types) and `table` (rows to
parts), and for the last two `apart` (images beside rows). `shaped` stands before any of them and
brings rows into a training format.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mirage.config.data import SinkConfig
from mirage.formats import SHAPES, shape
from mirage.record import Sink

Container = Literal["jsonl", "json", "parquet", "hf", "webdataset", "imagefolder", "folder"]
SUFFIXES: dict[str, Container] = {".jsonl": "jsonl", ".json": "json", ".parquet": "parquet"}
SUFFIXES[".tar"] = "webdataset"


def open_sink(
    config: SinkConfig,
    *,
    base: Path,
    declared: Mapping[str, str],
    source_types: Mapping[str, str] | None = None,
    samples: bool = False,
    strict: bool = False,
) -> Sink:
    """The sink of a configuration; a relative path is taken from `base`.

    `declared` and, where it is silent, `source_types` name the types of columns that are known
    beforehand: "string", "integer", "number", "boolean", "image" or "images". With `samples`, a
    format of files keeps neutral rows; with `strict`, a training format refuses a sample that
    would lose anything. Raises ValueError where the format cannot be told, or
    contradicts the path.
    """
    path = (base / config.path).resolve()
    kind = container_of(config)
    folder = config.path.endswith("/") or not path.suffix
    folder = folder or (path.suffix.lower() not in SUFFIXES and path.is_dir())
    embed = config.images == "embed"
    if kind == "folder":
        from mirage.sinks.mimicit import MimicItSink

        return MimicItSink(path, config.meta, strict)
    if config.format not in SHAPES and not samples:
        types = {**(source_types or {}), **declared}
        return _rows(kind, path, folder, types, embed=embed)
    from mirage.formats.dataset_info import Described
    from mirage.sinks.described import AlikeSink, DescribedSink
    from mirage.sinks.shaped import ShapedSink

    form = shape(config.format if config.format in SHAPES else "messages")
    home = path if folder else path.parent
    root = str(home) if form.absolute else ""
    inner = _rows(kind, path, folder, form.columns, embed=embed, root=root)
    if isinstance(form, Described):
        if folder:
            raise ValueError(f"{form.name} is kept in one file: end {config.path!r} in .json")
        inner = DescribedSink(inner, "rejected", form, path)
    elif form.name == "ms-swift":
        inner = AlikeSink(inner, "rejected_response")
    embeds = kind in ("webdataset", "imagefolder") or (embed and kind in ("parquet", "hf"))
    return ShapedSink(inner, form, None if embeds else home, config.copy_images, strict)


def _rows(
    kind: Container,
    path: Path,
    folder: bool,
    types: Mapping[str, str],
    *,
    embed: bool,
    root: str = "",
) -> Sink:
    match kind:
        case "jsonl" | "json":
            from mirage.sinks.jsonl import JsonlSink

            return JsonlSink(path, folder, kind == "json", root)
        case "parquet":
            from mirage.sinks.parquet import ParquetSink

            return ParquetSink(path, folder, types, embed=embed)
        case "hf":
            from mirage.sinks.hf import HfSink

            return HfSink(path, types, embed=embed)
        case "webdataset":
            from mirage.sinks.webdataset import WebdatasetSink

            return WebdatasetSink(path, folder)
        case "imagefolder":
            from mirage.sinks.imagefolder import ImagefolderSink

            return ImagefolderSink(path, types)
        case "folder":
            raise ValueError("only mimic-it is kept in a folder of several kinds of file")


def container_of(config: SinkConfig) -> Container:
    """What kind of file the rows are kept in: as given, as the suffix of the path says, or as is
    usual for the training format.
    """
    suffix = Path(config.path).suffix.lower()
    told = None if config.path.endswith("/") else SUFFIXES.get(suffix)
    shaped = config.format in SHAPES
    given: str | None = config.container if shaped else config.container or config.format
    if given is not None and told not in (None, given):
        raise ValueError(f"{config.path} does not go with {given!r}")
    kind = given or told
    if shaped:
        usual = shape(config.format or "").containers
        kind = kind or usual[0]
        if kind not in usual:
            raise ValueError(f"{config.format} is kept in {', '.join(usual)}, not in {kind}")
    if kind is None:
        raise ValueError(
            f"the format of {config.path!r} cannot be told: end it in .jsonl, .json, .parquet or "
            ".tar, or name the format (`sink.format`, --to)"
        )
    return kind  # type: ignore[return-value]
