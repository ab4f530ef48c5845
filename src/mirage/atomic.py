"""Files and folders that appear whole: written beside, synced, renamed into place.

The lowest layer, beside `errors`: parts, images and datasets all reach the disk through here, so
that a reader sees the old content or the new, and a crash leaves nothing half-written under a name
that counts.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

AT_FDCWD = -100
RENAME_EXCHANGE = 2
CHUNK = 1 << 20


def beside(target: Path) -> Path:
    """A fresh name in the folder of `target`, so that a rename never crosses a file system."""
    return target.parent / f".mirage-{os.urandom(8).hex()}.tmp"


def sync(path: Path) -> None:
    """Force a file or a folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Force a folder and all that it holds to disk."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            sync_tree(Path(entry.path))
        else:
            sync(Path(entry.path))
    sync(folder)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path to write to; it takes the place of `target` when the block ends well.

    On any error `target` stays as it was, and nothing is left beside it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(target)
    try:
        yield temporary
        settle(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing(target: Path) -> Iterator[BinaryIO]:
    """`replacing`, with the file open for writing bytes."""
    with replacing(target) as temporary, temporary.open("xb", buffering=CHUNK) as file:
        yield file


def write_bytes(target: Path, data: bytes) -> None:
    with writing(target) as file:
        file.write(data)


def show(target: Path, data: bytes) -> None:
    """Replace a small file that others look at. It need not outlive a power cut: no sync."""
    temporary = beside(target)
    temporary.write_bytes(data)
    temporary.replace(target)


def settle(file: Path, target: Path) -> None:
    """Sync a finished file and rename it over `target`."""
    sync(file)
    file.replace(target)
    sync(target.parent)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder; no living one may write there."""
    for left in folder.glob(".mirage-*.tmp"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A folder inside `folder` to build something in; it is gone when the block ends. Those that
    killed processes of this machine left are gone before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clear(folder)
    room, lock = claimed(folder)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
        os.close(lock)


def claimed(folder: Path) -> tuple[Path, int]:
    """A new room in `folder`, and its lock, which is let go of when the process ends."""
    while True:
        room = beside(folder / "x")
        room.mkdir()
        place = room / f"{os.uname().nodename}.lock"
        lock = os.open(place, os.O_RDWR | os.O_CREAT)
        with suppress(OSError):  # there are file systems without locks: there, nothing is cleared
            fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():  # or `clear` was faster
            return room, lock
        os.close(lock)


def clear(folder: Path) -> None:
    """Remove rooms whose process is no more. What another machine left is not for us to judge."""
    for left in folder.glob(f".mirage-*.tmp/{os.uname().nodename}.lock"):
        with suppress(OSError), left.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Whoever else comes here with the same folder waits until the block, or its process, ends. A
    file system without locks lets all of them in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def replace_folder(new: Path, target: Path) -> None:
    """Put the folder `new` in the place of `target`; what stood there is deleted afterwards.

    On Linux the two are exchanged in one step (renameat2(2), RENAME_EXCHANGE). Where the system or
    its file system cannot, the old folder is first renamed aside: for an instant there is none.
    """
    sync_tree(new)
    if not target.exists():
        new.rename(target)
    elif exchange(new, target):
        shutil.rmtree(new)
    else:
        aside = beside(target)
        target.rename(aside)
        try:
            new.rename(target)
        except OSError:
            aside.rename(target)
            raise
        shutil.rmtree(aside)
    sync(target.parent)


def exchange(one: Path, other: Path) -> bool:
    """Swap two paths atomically; False where that is not possible here."""
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # a twentieth of what a start takes

    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(other))


def append(source: Path, handle: int) -> None:
    """Append a file to an open descriptor, in the kernel where it can: copy_file_range(2)."""
    with source.open("rb") as file:
        copied = 1 if hasattr(os, "copy_file_range") else 0
        while copied:
            try:
                copied = os.copy_file_range(file.fileno(), handle, 1 << 30)
            except OSError as exc:
                if exc.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
                    raise
                break
        # Whatever is left: all of it where the kernel declined, nothing otherwise.
        while chunk := file.read(CHUNK):
            view = memoryview(chunk)
            while view:
                view = view[os.write(handle, view) :]


def copy(source: Path, target: Path) -> None:
    """Write a copy of a file, unsynced, to a path that must not exist yet."""
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        append(source, handle)
    finally:
        os.close(handle)
