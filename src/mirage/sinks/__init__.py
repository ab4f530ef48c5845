"""Rows out: parts block by block, then one dataset that appears whole.

`open_sink` is the only way in; it loads a format's libraries when that format is asked for. Shared
by the leaves `jsonl`, `parquet`, `hf`, `webdataset` and `imagefolder`: `images` (what becomes of an
image), `dataset` (files and folders on disk), for the tables `columns` (types) and `table` (rows to
parts), and for the last two `apart` (images beside rows). `shaped` stands before any of them and
brings rows into a training format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from mirage.config.data import SinkConfig
from mirage.formats import SHAPES, shape
from mirage.places import RemotePath, is_remote
from mirage.places.opening import SCHEME, WEB, without_secrets
from mirage.record import Sink

Container = Literal["jsonl", "json", "parquet", "hf", "webdataset", "imagefolder", "folder"]
SUFFIXES: dict[str, Container] = {".jsonl": "jsonl", ".json": "json", ".parquet": "parquet"}
SUFFIXES[".tar"] = "webdataset"
READ_ONLY = frozenset({".csv", ".tsv", ".gz", ".zst", ".tgz", ".arrow"})
"""What sources read and no sink writes: a file of such a name could not be read again."""


def open_sink(
    config: SinkConfig,
    *,
    base: Path,
    declared: Mapping[str, str],
    source_types: Mapping[str, str] | None = None,
    samples: bool = False,
    strict: bool = False,
    stage: Path | None = None,
    at: RemotePath | None = None,
) -> Sink:
    """The sink of a configuration; a relative path is taken from `base`.

    `declared` and, where it is silent, `source_types` name the types of columns that are known
    beforehand: "string", "integer", "number", "boolean", "image" or "images". With `samples`, a
    format of files keeps neutral rows; with `strict`, a training format refuses a sample that
    would lose anything. A dataset in a store is made in the folder `stage` first, which is nobody
    else's, by a sink that knows where it will be `at`. Raises ValueError where the format cannot be
    told, or contradicts the path.
    """
    if SCHEME.match(config.path):
        here = partial(open_sink, base=base, declared=declared, source_types=source_types)
        here = partial(here, samples=samples, strict=strict)
        return _afar(config, stage or base / "upload", here)
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
    known = (at if folder else at.parent) if at else home
    root = str(known) if form.absolute else ""
    inner = _rows(kind, path, folder, form.columns, embed=embed, root=root)
    if isinstance(form, Described):
        if folder:
            raise ValueError(f"{form.name} is kept in one file: end {config.path!r} in .json")
        inner = DescribedSink(inner, "rejected", form, path)
    elif form.name == "ms-swift":
        inner = AlikeSink(inner, "rejected_response")
    embeds = kind in ("webdataset", "imagefolder") or (embed and kind in ("parquet", "hf"))
    return ShapedSink(inner, form, None if embeds else home, config.copy_images, strict)


def _afar(config: SinkConfig, stage: Path, here: Callable[..., Sink]) -> Sink:
    """The sink of a dataset in a store, made out of one that is `here`."""
    from mirage.sinks.remote import RemoteSink

    target = sendable(config)
    end = "/" if config.path.endswith("/") else ""

    def make(path: Path) -> Sink:
        return here(config.model_copy(update={"path": f"{path}{end}"}), at=target)

    stage = stage.absolute()
    return RemoteSink(make(stage / target.name), target, stage, make)


def sendable(config: SinkConfig) -> RemotePath:
    """The place in a store that a dataset can be sent to. Raises ValueError."""
    if not is_remote(config.path) or config.path.split("://")[0].lower() in WEB:
        shown = without_secrets(config.path)
        raise ValueError(f"{shown} is read, not written: write to s3:// or gs://, or here")
    target = RemotePath.of(config.path.rstrip("/"))
    if container_of(config) == "folder":
        raise ValueError(f"{config.format} is several files of random access: write it here")
    return target


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
    said = given or config.format
    read_only = suffix in READ_ONLY and not config.path.endswith("/")
    if said is not None and (read_only or (given is not None and told not in (None, given))):
        raise ValueError(f"{config.path} does not go with {said!r}")
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
