"""What becomes of an image in the output: the string it came with, a file in `images/`, or bytes.

Files are staged beside a part, named by their content, and linked to the dataset when that is
published: a part with its images does not depend on where the dataset will be.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mirage import atomic
from mirage.errors import MediaError, SinkError
from mirage.media import extension, sniff
from mirage.record import Image

FOLDER = "images"


def reference(image: Image) -> str | None:
    """The source's own string for an image (a path, a data URL); None where it gave bytes."""
    match image.given:
        case str(path):
            return path
        case os.PathLike() as path:
            return str(path)
        case {"path": str(path)} if image.data is None or path[:5].lower() == "data:":
            return path
        case _:
            return None


def embedded(image: Image) -> dict[str, Any]:
    """An image as Hugging Face stores it: its bytes, and its path where it came with one."""
    return {"bytes": read(image), "path": image.name}


def unnamed(image: Image) -> Image:
    """The image as one that becomes a file, whatever it was called."""
    return Image(None, image.data, image.path, image.member)


def read(image: Image) -> bytes:
    try:
        return image.read()
    except (OSError, MediaError) as exc:
        raise SinkError("image", f"the image cannot be read: {exc}") from exc


class Gallery:
    """The images of one part that need a file: written as they come, in place when it is done.

    A row's images are first only named (`claim`); they are written (`keep`) once the row is known
    to fit, or forgotten (`drop`). Leaving the block with an error leaves no new file behind. Rows
    name a file relative to the dataset, or below `root` where an absolute path is wanted.
    """

    def __init__(self, part: Path, root: str = "") -> None:
        self.folder = part.parent / FOLDER
        self.prefix = f"{root}/{FOLDER}" if root else FOLDER
        self.claimed: dict[str, bytes] = {}
        self.fresh: dict[str, Path] = {}

    def claim(self, image: Image) -> str:
        """What stands for an image in a row: its own string, or the path of its file to be."""
        own = reference(image)
        if own is not None:
            return own
        data = read(image)
        try:
            kind = extension(sniff(data))
        except MediaError:
            kind = extension("")
        name = f"{hashlib.sha256(data).hexdigest()}.{kind}"
        self.claimed[name] = data
        return f"{self.prefix}/{name}"

    def keep(self) -> None:
        for name, data in self.claimed.items():
            final = self.folder / name
            if name in self.fresh or same_size(final, len(data)):
                continue
            self.folder.mkdir(parents=True, exist_ok=True)
            self.fresh[name] = temporary = atomic.beside(final)
            temporary.write_bytes(data)
        self.claimed.clear()

    def drop(self) -> None:
        self.claimed.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            if exc is None and self.fresh:
                for temporary in self.fresh.values():
                    atomic.sync(temporary)
                for name, temporary in self.fresh.items():
                    temporary.replace(self.folder / name)
                atomic.sync(self.folder)
        finally:
            for temporary in self.fresh.values():
                temporary.unlink(missing_ok=True)


def same_size(file: Path, size: int) -> bool:
    try:
        return file.stat().st_size == size
    except FileNotFoundError:
        return False
