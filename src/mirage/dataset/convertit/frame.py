"""What every source gives: pictures one after another, each with its place and the end of its key.

Sources list names and nothing else; bytes are read, and frames encoded, where a `Frame` is asked
for them. The order never depends on the file system.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from msgspec import Struct

from mirage.errors import MediaError
from mirage.record import Image
from mirage.sources.find import ordered

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

    from mirage.media.web import Web


class Where(Struct, frozen=True):
    """What was named: the source, the folder of its images where that is another, and what fetches
    images that are URLs, where that is wanted.
    """

    path: Path
    images: Path | None = None
    web: Web | None = None


class Frame(Struct, frozen=True):
    """One picture: `tail` is what its key ends with, `read` gives the bytes of a file, or the
    pixels of a video's frame, which has no bytes of its own. `read` raises MediaError or OSError.
    """

    place: str
    tail: str
    read: Callable[[], bytes | Pixels]


class Family(Struct, frozen=True):
    """One source of the table: what its keys begin with, and its pictures in order.

    `frames` raises ValueError where nothing of the kind is there.
    """

    short: str
    frames: Callable[[Where], Iterator[Frame]]


def still(path: Path, root: Path, tail: str) -> Frame:
    """A picture that is a file somewhere below `root`."""
    place = path.relative_to(root).as_posix()
    return Frame(place, tail, Image(given=place, path=str(path)).read)


def missing(place: str, error: MediaError) -> Frame:
    """What stands in the place of a picture that cannot be there: reading it says why."""
    return Frame(place, "", partial(fail, error))


def fail(error: MediaError) -> NoReturn:
    raise error


def stem(path: Path) -> str:
    """A name up to its first dot: the keys of the published datasets were made so."""
    return path.name.partition(".")[0]


def files(folder: Path) -> list[Path]:
    """The files of a folder but hidden ones, by name, numbers as numbers."""
    return ordered(path for path in shown(folder) if path.is_file())


def folders(folder: Path, pattern: str = "*") -> list[Path]:
    return ordered(path for path in shown(folder) if path.is_dir() and path.match(pattern))


def shown(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    return (path for path in folder.iterdir() if not path.name.startswith("."))
