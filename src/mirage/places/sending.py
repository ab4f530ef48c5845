"""Files sent to a store: all of them first, and none appears before `commit`.

A large file goes as an upload of several parts, which the store makes an object of when it is told
that all are there; a small one is sent when the others appear.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mirage.places.opening import asking
from mirage.places.remote import RemotePath

PIECE = 16 << 20
MOST_PIECES = 9_000
"""Of one upload; S3 takes 10,000."""


class Sending:
    """What is on its way. Left without `commit`, all of it is taken back."""

    def __init__(self) -> None:
        self.large: list[tuple[Path, RemotePath, Any]] = []
        self.small: list[tuple[Path, RemotePath]] = []

    def send(self, file: Path, target: RemotePath) -> None:
        """Raises OSError."""
        size = file.stat().st_size
        if size <= PIECE:
            self.small.append((file, target))
            return
        piece = max(PIECE, size // MOST_PIECES)
        with asking(target):
            upload = target.store.files.open(target.key, "wb", block_size=piece, autocommit=False)
            self.large.append((file, target, upload))
            with file.open("rb") as source:
                shutil.copyfileobj(source, upload, PIECE)
            upload.close()

    def commit(self) -> None:
        """Let everything appear. Raises OSError, also where an object is not what was sent."""
        while self.large:
            file, target, upload = self.large[0]
            with asking(target):
                upload.commit()
            del self.large[0]
            check(file, target)
        for file, target in self.small:
            target.write_bytes(file.read_bytes())
            check(file, target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for _, _, upload in self.large:
            with suppress(Exception):
                upload.discard()


def check(file: Path, target: RemotePath) -> None:
    size = target.look().st_size
    if size != file.stat().st_size:
        raise OSError(f"{target}: {size:,} bytes arrived, not {file.stat().st_size:,}")


def send_one(file: Path, target: RemotePath) -> None:
    with Sending() as sending:
        sending.send(file, target)
        sending.commit()
