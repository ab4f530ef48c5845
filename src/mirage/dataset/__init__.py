"""A dataset as a whole, without any model: convert it, verify it, look at it.

    opening.py        which format a dataset is in, and its rows
    conversion.py     from one format to another; refusals.py lists what is left out
    checksums.py      MD5 sums
    verification.py   every row held against the rules, every image decoded
    containers.py     the rules of what rows are kept in; metadata.py looks into tables for it
    stores.py         an image store: written as another kind, verified
    mimicit.py        MIMIC-IT, whose rules go over several files
    convertit/        the images of known datasets, as they are distributed, into a store
    inspection.py     what is in it; spread.py counts numbers and repetitions for it

The functions here take what a person writes: paths and names of formats, from the current folder.
Whatever cannot be meant is a ConfigError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mirage.errors import ConfigError, Mistake
from mirage.places import is_remote

if TYPE_CHECKING:
    from mirage.dataset.conversion import Conversion
    from mirage.dataset.inspection import Inspection
    from mirage.dataset.verification import Report, Verification

Result = TypeVar("Result")


def convert(
    path: str | Path,
    target: str | Path,
    *,
    to: str | None = None,
    container: str | None = None,
    format: str | None = None,
    image_base_path: str | Path | None = None,
    copy_images: bool = False,
    strict: bool = False,
    fetch: bool = False,
    resize: int | None = None,
    images_store: str | Path | None = None,
    meta: Mapping[str, str] | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Conversion:
    """Write the dataset at `path` to `target`, in the format `to`, kept in `container`.

    Formats are those of `source.format` and `sink.format`; where `format` or `to` is not given it
    is told by the rows, or by the suffix of the target. See `conversion.convert`. With a format
    `convert-it:NAME`, and there alone, `fetch` and `resize` count: see `convertit.convert`.
    `image-store` is a format of images alone: see `stores.convert`. `images_store` is that of a
    MIMIC-IT dataset, where it stands elsewhere; `meta` is what such a dataset says of itself.
    """
    from mirage.config.data import SinkConfig
    from mirage.dataset import conversion, convertit, stores

    unharmed(target, path, images_store)
    if format is not None and format.startswith(convertit.PREFIX):
        name, images = format, None if image_base_path is None else Path(image_base_path)
        wanted = convertit.Wanted(to, images, fetch, resize)
        return meant(lambda: convertit.convert(name, Path(path), Path(target), wanted, progress))
    if fetch or resize is not None:
        raise ConfigError([Mistake("", f"fetch and resize go with {convertit.PREFIX}NAME alone")])
    if stores.STORE in (to, format) or (to is format is None and is_store(path)):
        if {to, format} - {stores.STORE, None}:
            other = to if format == stores.STORE else format
            what = f"{stores.STORE} holds images without text: there is no way to or from {other}"
            raise ConfigError([Mistake("", what)])
        return meant(lambda: stores.convert(Path(path), Path(target), progress))

    given: dict[str, Any] = {"path": str(target), "format": to, "container": container}
    given |= {"copy_images": copy_images, "meta": meta or {}}
    return meant(
        lambda: conversion.convert(
            source(path, format, image_base_path, images_store),
            SinkConfig.model_validate(given),
            base=Path.cwd(),
            strict=strict,
            progress=progress,
        )
    )


def verify(
    path: str | Path,
    *,
    format: str | None = None,
    md5: str | None = None,
    image_base_path: str | Path | None = None,
    images_store: str | Path | None = None,
    report: Report = lambda violation: None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Verification:
    """Hold every row of the dataset at `path` against its format's rules; see `verification`.

    `md5` is the sum of the file, or a file of sums: see `checksums`. Of a `.zip`, as datasets are
    distributed, only the sum can be looked at.
    """
    from mirage.dataset import checksums, mimicit, stores, verification

    where = Path(path)

    def look() -> Verification:
        if md5 is not None and where.suffix.lower() == ".zip":
            return verification.Verification("zip")
        if format == stores.STORE or (format is None and is_store(path)):
            return stores.verify(where, report, progress)
        asked, base = source(path, format, image_base_path, images_store), Path.cwd()
        found = mimicit.verify(asked, base=base, report=report, progress=progress)
        return found or verification.verify(asked, base=base, report=report, progress=progress)

    def verified() -> Verification:
        if md5 is not None and is_remote(str(path)):
            raise ValueError("MD5 sums are taken of files here, not of objects in a store")
        differing = [] if md5 is None else list(checksums.md5_faults(where, md5))
        found = look()
        for file, fault in differing:
            found.tell(file, fault, report)
        return found

    return meant(verified)


def inspect(
    path: str | Path,
    *,
    format: str | None = None,
    image_base_path: str | Path | None = None,
    images_store: str | Path | None = None,
    limit: int | None = None,
    count: int = 0,
    progress: Callable[[int], None] = lambda rows: None,
) -> Inspection:
    """What is in the dataset at `path`, its first `limit` rows at most; see `inspection`."""
    from mirage.dataset import inspection, stores

    if format == stores.STORE or (format is None and is_store(path)):
        return meant(lambda: inspection.inspect_store(Path(path), limit, count, progress))

    def look() -> Inspection:
        asked = source(path, format, image_base_path, images_store)
        asked = asked.model_copy(update={"limit": limit})
        return inspection.inspect(asked, base=Path.cwd(), count=count, progress=progress)

    return meant(look)


def is_store(path: str | Path) -> bool:
    """Whether a path can only be that of an image store; these are read where they are local."""
    from mirage.dataset import stores

    return not is_remote(str(path)) and stores.recognised(Path(path))


def source(
    path: str | Path,
    format: str | None,
    image_base_path: str | Path | None,
    images_store: str | Path | None = None,
) -> Any:
    """A source as a configuration has it."""
    from mirage.config.data import SourceConfig

    where = {"path": path, "image_base_path": image_base_path, "images": images_store}
    given = {name: None if each is None else str(each) for name, each in where.items()}
    return SourceConfig.model_validate({**given, "format": format})


def unharmed(target: str | Path, *read: str | Path | None) -> None:
    """Raise ConfigError where what is written would take the place of what is read, or be read as
    part of it the next time.
    """
    from mirage.sources import takes_in

    for place in (Path(target), Path(f"{target}.failed.jsonl")):
        for each in read:
            if each is not None and takes_in(source(each, None, None), Path.cwd(), place):
                what = f"{place} would take the place of {each}, which is read, or stand in it"
                raise ConfigError([Mistake("", f"{what}: choose another path")])


def meant(ask: Callable[[], Result]) -> Result:
    """What `ask` gives; a ValueError, which speaks of what was asked for, becomes a ConfigError."""
    try:
        return ask()
    except ValueError as exc:
        raise ConfigError([*mistakes(exc)]) from exc


def mistakes(error: ValueError) -> Iterator[Mistake]:
    """What was asked for and cannot be meant, key by key where keys are wrong."""
    from pydantic import ValidationError

    from mirage.config.mistakes import explain

    if not isinstance(error, ValidationError):
        yield Mistake("", str(error))
        return
    given = {str(each["loc"][0]): each["input"] for each in error.errors()}
    for path, message, _ in explain(error, given):
        yield Mistake(".".join(map(str, path)), message)
