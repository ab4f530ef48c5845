"""From parts to a dataset on disk: one file, or a folder of shards, with the images they name.

What stands at the path already is replaced in one step, and only if this sink could have written
it: a file, or a folder in which nothing is foreign.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mirage import atomic
from mirage.errors import RunError
from mirage.sinks.images import FOLDER, same_size

IMAGE = re.compile(r"[0-9a-f]{64}\.[a-z]{2,5}")


@contextmanager
def new_file(path: Path, parts: Sequence[Path]) -> Iterator[Path]:
    """Yield a path to write the dataset to. Its images are there before it is.

    Raises RunError where `path` is a folder, or `images` beside it is a file.
    """
    refuse_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    link_images(parts, path.parent)
    with atomic.workspace(path.parent) as room:
        yield room / "new"
        atomic.settle(room / "new", path)


@contextmanager
def new_folder(path: Path, parts: Sequence[Path], ours: str) -> Iterator[Path]:
    """Yield a folder to fill; it takes the place of `path`, in which only files whose names match
    `ours` and images may stand. Raises RunError for anything else there.
    """
    refuse_foreign(path, ours)
    with atomic.workspace(path.parent) as room:
        new = room / "new"
        new.mkdir()
        link_images(parts, new)
        yield new
        atomic.replace_folder(new, path)


def refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise RunError(f"{path} is a folder: the dataset would be a file of that name")


def refuse_foreign(path: Path, ours: str) -> None:
    if not path.exists():
        return
    if not path.is_dir():
        raise RunError(f"{path} is a file: the dataset would be a folder of that name")
    for entry in os.scandir(path):
        if entry.name == FOLDER and entry.is_dir(follow_symlinks=False):
            foreign = [inner.path for inner in os.scandir(entry.path) if not plain(inner, IMAGE)]
        else:
            foreign = [] if plain(entry, re.compile(ours)) else [entry.path]
        if foreign:
            raise RunError(
                f"{foreign[0]} is not part of a dataset that this sink writes: "
                "empty the folder, or choose another path"
            )


def plain(entry: os.DirEntry[str], pattern: re.Pattern[str]) -> bool:
    return entry.is_file(follow_symlinks=False) and pattern.fullmatch(entry.name) is not None


def link_images(parts: Iterable[Path], target: Path) -> None:
    """Bring the images staged beside the parts to `target`/images: linked, or copied where the
    file system cannot. Those that are there already are the same, by their names.
    """
    into = target / FOLDER
    staged = [part.parent / FOLDER for part in parts]
    for folder in dict.fromkeys(folder for folder in staged if folder.is_dir()):
        for entry in os.scandir(folder):
            if not IMAGE.fullmatch(entry.name):
                continue
            try:
                into.mkdir(exist_ok=True)
            except FileExistsError:
                raise RunError(f"{into} is a file: the images belong into that folder") from None
            final = into / entry.name
            if not same_size(final, entry.stat().st_size):
                bring(Path(entry.path), final)
    if into.is_dir():
        atomic.sync(into)


def bring(source: Path, final: Path) -> None:
    temporary = atomic.beside(final)
    try:
        try:
            temporary.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, temporary)
            atomic.sync(temporary)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
