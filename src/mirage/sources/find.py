"""Which files a path means, in which order, and what they are. Nothing is read here.

All mistakes are ValueErrors, which the plan reports as mistakes of the configuration.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from mirage.places import Place, RemotePath, is_remote
from mirage.places.opening import WEB
from mirage.places.remote import parts_of

AnyPlace = TypeVar("AnyPlace", bound=Place)

SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "hf",
    ".tar": "webdataset",
    ".tgz": "webdataset",
}
IMAGES = frozenset(
    {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2"}
)
COMPRESSED = frozenset({".gz", ".zst"})
DESCRIPTION = "dataset_info.json"
"""Says what is in the files beside it: see `mirage.formats.dataset_info`."""
METADATA = frozenset({"metadata.jsonl", "metadata.csv", "metadata.parquet"})
FORMATS = (
    "jsonl (.jsonl, .ndjson), json (.json: an array of objects), csv, tsv, each also .gz and .zst; "
    "parquet (.parquet, .pq); imagefolder; webdataset (.tar, .tar.gz, .tar.zst); hf (a folder of "
    "save_to_disk, .arrow, or hf://owner/name)"
)


class Found(Struct, frozen=True):
    """Files of one format, and the folder that their names are relative to."""

    format: str
    root: Place
    paths: tuple[Place, ...]


def find(base: Path, name: str, format: str | None = None) -> Found:
    """What `name` (a file, a folder, a glob) holds, as `format` or as the names suggest."""
    if is_remote(name):
        return afar(RemotePath.of(name), format)
    plain = Path(name).expanduser()
    path = base / plain
    if path.is_dir():
        if format in (None, "hf") and is_saved(path):
            return Found("hf", path, ())
        return in_folder(path, format)
    if path.exists():
        if not path.is_file():
            raise ValueError(f"{path} is neither a file nor a folder")
        return Found(format or the_kind(path), path.parent, (path,))
    magic = [glob.has_magic(part) for part in plain.parts]
    if True not in magic:
        raise ValueError(f"{path} does not exist")
    # Unlike Path.glob, this passes over hidden files.
    names = glob.iglob(str(plain), root_dir=base, recursive=True)  # noqa: PTH207
    paths = [each for each in ordered(base / name for name in names) if each.is_file()]
    if not paths:
        raise ValueError(f"no file matches {path}")
    root = base.joinpath(*plain.parts[: magic.index(True)])
    return Found(format or one_kind(path, paths), root, tuple(paths))


def afar(path: RemotePath, format: str | None) -> Found:
    """What a path in a store holds; it is asked now. What has to be mapped into memory, or is
    looked at file by file, is not read from there.
    """
    found = _afar(path, format)
    if found.format == "hf":
        raise ValueError(f"{path}: Arrow files are mapped into memory: copy them here first")
    if found.format == "imagefolder":
        raise ValueError(
            f"{path} is a folder of images, which is read where it is local; or give the file that "
            "names them, and `image_base_path`"
        )
    return found


def _afar(path: RemotePath, format: str | None) -> Found:
    if path.is_file():
        return Found(format or the_kind(path), path.parent, (path,))
    if path.scheme in WEB:
        raise ValueError(f"{path} does not exist, or is no file: the web has no folders")
    if path.exists():
        return in_folder(path, format)
    magic = [glob.has_magic(part) for part in path.parts]
    if True not in magic:
        raise ValueError(f"{path} does not exist")
    root = path
    for _ in path.parts[magic.index(True) :]:
        root = root.parent
    pattern = path.key.removeprefix(root.key).lstrip("/")
    paths = ordered(each for each in root.glob(pattern) if not hidden(each, root))
    if not paths:
        raise ValueError(f"no file matches {path}")
    return Found(format or one_kind(path, paths), root, tuple(paths))


def hidden(path: RemotePath, root: RemotePath) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def holds(base: Path, name: str, place: Place) -> bool:
    """Whether a file at `place` would be one of those that `name` means, or stand above them."""
    if is_remote(name) or isinstance(place, RemotePath):
        return isinstance(place, RemotePath) and shares(parts_of(name), place.parts)
    path = (base / Path(name).expanduser()).absolute()
    place = place.absolute()
    if any(glob.has_magic(part) for part in path.parts):
        return matches(place.parts, path.parts)
    path, place = path.resolve(), place.resolve()
    return path.is_relative_to(place) or place.is_relative_to(path)


def shares(parts: tuple[str, ...], place: tuple[str, ...]) -> bool:
    """`holds`, of two paths in stores, in parts."""
    if any(map(glob.has_magic, parts)):
        return matches(place, parts)
    short = min(len(parts), len(place))
    return parts[:short] == place[:short]


def matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a glob, in parts, means a path."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(matches(parts[at:], pattern[1:]) for at in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


def is_saved(folder: Path) -> bool:
    """Whether `datasets.save_to_disk` wrote this folder."""
    one = all((folder / name).is_file() for name in ("state.json", "dataset_info.json"))
    return one or (folder / "dataset_dict.json").is_file()


def in_folder(folder: Place, format: str | None) -> Found:
    """The data files of a folder. Images beside other data are what the data refers to."""
    paths = ordered(walk(folder))
    data = [path for path in paths if kind(path) and path.name != DESCRIPTION]
    images = [path for path in paths if path.suffix.lower() in IMAGES]
    rows = [path for path in data if kind(path) != "webdataset"]
    if (rows or images) and format != "webdataset":
        data = rows  # the archives hold what these refer to
    metadata = [path for path in data if path.name in METADATA]
    only_images = bool(images) and len(metadata) == len(data)
    if format == "imagefolder" or (format is None and only_images):
        if not metadata and not images:
            raise ValueError(f"{folder} holds no images")
        return Found("imagefolder", folder, tuple(metadata or images))
    chosen = [path for path in data if format in (None, kind(path))]
    unread = [path for path in paths if path not in data and path.suffixes[:1] and half_known(path)]
    if unread:
        raise ValueError(f"{unread[0]} cannot be read: only .gz and .zst are decompressed")
    if not chosen:
        wanted = f"{format} files" if format else "data files"
        raise ValueError(f"{folder} holds no {wanted}; the formats are {FORMATS}")
    return Found(format or one_kind(folder, chosen), folder, tuple(chosen))


def walk(folder: Place) -> Iterable[Place]:
    """All files below, but hidden ones; a folder that was entered before is not entered again."""
    if isinstance(folder, RemotePath):
        yield from (path for path in folder.walk() if not hidden(path, folder))
        return
    seen: set[str] = set()

    def fail(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in names if not name.startswith("."))


def ordered(paths: Iterable[AnyPlace]) -> list[AnyPlace]:
    """By name, numbers as numbers: part-2 stands before part-10. Raises ValueError for a name that
    is no text, which no journal and no dataset could hold.
    """
    found = sorted(paths, key=natural)
    for path in found:
        try:
            str(path).encode()
        except UnicodeEncodeError as exc:
            raise ValueError(f"a name that is not UTF-8: {str(path)!a}; rename it") from exc
    return found


def natural(path: Place) -> tuple[list[list[tuple[int, int, str]]], str]:
    parts = [re.split(r"(\d+)", part) for part in path.parts]
    keys = [[(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in part if p] for part in parts]
    return keys, str(path)


def kind(path: Place) -> str | None:
    """The format of a file by its suffixes; None where they say nothing."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if len(suffixes) > 1 and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return SUFFIXES.get(suffixes[-1]) if suffixes else None


def half_known(path: Place) -> bool:
    """Whether this is data in a compression that is not read: silently, it would be missing."""
    return path.suffix.lower() in {".bz2", ".xz", ".zip", ".lz4", ".7z"} and bool(
        kind(path.with_suffix(""))
    )


def the_kind(path: Place) -> str:
    found = kind(path)
    if found is None:
        raise ValueError(
            f"the format of {path} is not known by its name; say it with `format`: {FORMATS}"
        )
    return found


def one_kind(where: Place, paths: Iterable[Place]) -> str:
    """The one format of all files."""
    kinds: dict[str, Place] = {}
    for path in paths:
        kinds.setdefault(the_kind(path), path)
    if len(kinds) > 1:
        held = ", ".join(f"{name} ({path.name})" for name, path in sorted(kinds.items()))
        raise ValueError(f"{where} holds several formats: {held}; say which with `format`")
    return next(iter(kinds))
