"""Rows in: sources that cut themselves into spans, and read any of them.

    find.py      which files a path means, and what they are
    files.py     a source made of files, and the protocol of a format
    blocks.py    spans grouped into blocks; several sources as one
    identity.py  `source.id`, and the index that finds repeated ids
    mimicit.py            the rows of MIMIC-IT: mimicit_files.py says which files, mimicit_index.py
                          which ids, and json_object.py reads them entry by entry
    streams.py, bytewise.py, digests.py, arrow.py     what formats share
    table_files.py        Parquet and Arrow files that are open
    lines.py, json_array.py, delimited.py, tables.py, images.py, webdataset.py
                                                      one file per family of formats
    hub.py, memory.py     rows that are not in files yet
    wrapping.py           what archives and folders of images wrap around a row, taken off
    shaped.py             rows of a training format, as neutral rows
    over.py               what formats share that are made of another one's rows

This module is the one factory; a format's libraries are loaded when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xxhash import xxh3_64_hexdigest

from mirage.config.data import SourceConfig
from mirage.formats import SHAPES, shape
from mirage.places import Place, is_remote, place
from mirage.sources.blocks import BOUNDS, Block, Bounds, Readable, Sources, blocks, peek
from mirage.sources.files import FileSource, Format
from mirage.sources.find import Found, find, holds, kind
from mirage.sources.identity import Identities

__all__ = [
    "BOUNDS",
    "Block",
    "Bounds",
    "Readable",
    "Sources",
    "blocks",
    "open_rows",
    "open_source",
    "peek",
    "takes_in",
]

HUB = "hf://"


def open_source(
    config: SourceConfig,
    *,
    base: Path,
    number: int,
    spool: Path,
    bare: bool = False,
) -> FileSource:
    """The source that a configuration means; `base` is the folder that its path is relative to.

    `number` is its index among the run's sources, and `spool` the run's own folder for what cannot
    be read twice. With `bare`, and for a training format in any case, rows are free of what their
    container wraps around them. Raises ValueError for a path or a format that cannot be read.
    """
    try:
        source = _open(config, base, number, spool)
    except OSError as exc:
        raise ValueError(str(exc)) from exc
    if bare and config.format not in SHAPES:
        source.format = _bare(source.format, checked=True)
    return source


def takes_in(config: SourceConfig, base: Path, place: Place) -> bool:
    """Whether what is written to `place` would be read as rows of this source, or replace them."""
    return not config.path.startswith(HUB) and holds(base, config.path, place)


def open_rows(rows: Iterable[Mapping[str, Any]], number: int = 0) -> Readable:
    """Rows that a program holds: a sequence, a `datasets.Dataset`, or any iterable of mappings."""
    from mirage.sources import memory

    if isinstance(rows, str | bytes | Mapping):
        raise ValueError(f"they are a sequence of mappings, not {type(rows).__name__}")
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # iterating gives names of columns
        raise ValueError("they are a sequence of mappings: give a data frame's to_dict('records')")
    if hasattr(rows, "with_format") and hasattr(rows, "_fingerprint") and hasattr(rows, "data"):
        return memory.DatasetRows(rows, number)
    return memory.Rows(rows, number)


def _open(config: SourceConfig, base: Path, number: int, spool: Path) -> FileSource:
    if config.format in SHAPES:
        return _shaped(config, base, number, spool)
    key = config.id
    identities = Identities(spool / f"ids-{number}.sqlite", key) if key is not None else None
    if config.path.startswith(HUB):
        source = _hub(config, number, spool)
    else:
        found = find(base, config.path, config.format)
        if config.subset or (config.split and found.format != "hf"):
            raise ValueError("`split` and `subset` choose from a Hugging Face dataset only")
        root, paths = found.root, found.paths
        if isinstance(root, Path) and not paths:
            paths = tuple(_saved(root, config.split))
        source = FileSource(number, root, list(paths), _format(found))
        for path in source.paths[:1]:
            source.format.check(path)
    source.identities, source.limit = identities, config.limit
    return source


def _shaped(config: SourceConfig, base: Path, number: int, spool: Path) -> FileSource:
    """A source of samples. Their images are below `image_base_path`, or beside the rows."""
    from mirage.formats.shape import among
    from mirage.sources.shaped import Shaped

    plain = config.model_copy(update={"format": None})
    source = _mimicit(config, base, number, spool) or _open(plain, base, number, spool)
    given = config.image_base_path
    folder = source.root if given is None else place(base, given)
    locate = among(folder, given=given is not None)
    source.format = Shaped(_bare(source.format, checked=False), shape(config.format or ""), locate)
    return source


def _mimicit(config: SourceConfig, base: Path, number: int, spool: Path) -> FileSource | None:
    """MIMIC-IT's own files, which hold rows as no other file does."""
    if config.format != "mimic-it":
        return None
    if is_remote(config.path):
        raise ValueError("MIMIC-IT is read by random access: copy it here first")
    from mirage.sources.mimicit import open_files

    source = open_files(config, base, number)
    if source is not None and config.id is not None:
        source.identities = Identities(spool / f"ids-{number}.sqlite", config.id)
    return source


def _format(found: Found) -> Format:
    if found.format != "imagefolder":
        return _rows(found.format)
    from mirage.sources import images

    by_name = kind(found.paths[0])
    return images.WithImages(_rows(by_name)) if by_name else images.ImageFile(found.root)


def _bare(rows: Format, *, checked: bool) -> Format:
    from mirage.sources.wrapping import Bare, wrapping

    take_off = wrapping(rows, checked=checked)
    return Bare(rows, take_off) if take_off else rows


def _rows(name: str) -> Format:
    match name:
        case "jsonl":
            from mirage.sources.lines import Lines

            return Lines()
        case "json":
            from mirage.sources.json_array import JsonArray

            return JsonArray()
        case "webdataset":
            from mirage.sources.webdataset import Shards

            return Shards()
        case "csv" | "tsv":
            from mirage.sources.delimited import Delimited

            return Delimited("," if name == "csv" else "\t")
        case _:
            from mirage.sources.tables import Tables

            return Tables()


def _saved(folder: Path, split: str | None) -> list[Path]:
    from mirage.sources.tables import saved

    return saved(folder, split)


def _hub(config: SourceConfig, number: int, spool: Path) -> FileSource:
    if find_spec("datasets") is None:
        raise ValueError(
            f"{config.path} needs the library `datasets`: pip install 'mirage-engine[hf]'"
        )
    from mirage.sources.hub import Hub

    what = (config.path, config.subset or "", config.split or "")
    folder = spool / f"hub-{number}-{xxh3_64_hexdigest(repr(what).encode())}"
    hub = Hub(config.path.removeprefix(HUB), config.subset, config.split, folder)
    return FileSource(number, folder, [*hub.present()], _rows("hf"), growing=hub.further)
