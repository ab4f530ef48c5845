"""Images inside archives: zip, tar and gzipped tar, read one member at a time where they lie.

A path that leads through an archive, `photos/images.zip/a/b.png`, is a member of it. An archive is
indexed once, when its first member is asked for, and shared by all threads; nothing is unpacked
but the member that is wanted, except that a gzipped tar, which cannot be entered in the middle, is
unpacked into a temporary file first.
"""

from __future__ import annotations

import os
import posixpath
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from mirage.errors import MediaError
from mirage.media.members import Archive, archive_kind, open_archive

KEPT = 32
Stamp = tuple[str, int, int, int]


class Shelf:
    """The archives that have been opened, the latest KEPT of them; a changed file is another one.

    Only whoever asks for an archive that is not indexed yet waits for that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: OrderedDict[Stamp, Slot] = OrderedDict()
        self._kinds: dict[Stamp, str] = {}

    def kind(self, stamp: Stamp) -> str:
        """Which kind of archive a file is; empty for none."""
        found = self._kinds.get(stamp)
        if found is None:
            if len(self._kinds) > 1_000 * KEPT:
                self._kinds.clear()
            found = self._kinds[stamp] = archive_kind(stamp[0])
        return found

    def archive(self, stamp: Stamp) -> Archive:
        with self._lock:
            slot = self._slots.setdefault(stamp, Slot())
            self._slots.move_to_end(stamp)
            while len(self._slots) > KEPT:
                self._slots.popitem(last=False)
        with slot.lock:
            if slot.error is not None:
                raise MediaError(slot.error.kind, slot.error.message)
            if slot.archive is None:
                try:
                    slot.archive = open_archive(stamp[0], self.kind(stamp))
                except MediaError as exc:
                    message = f"{stamp[0]} cannot be read: {exc.message}; is it cut off?"
                    slot.error = MediaError(exc.kind, message)
                    raise slot.error from exc
            return slot.archive


class Slot:
    """An archive, or why it cannot be read; neither while nobody has opened it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.archive: Archive | None = None
        self.error: MediaError | None = None


_shelf = Shelf()


def inside(path: str) -> tuple[str, Callable[[], bytes]] | None:
    """The archive that a path leads through, and what reads the member; None where there is none.

    Raises MediaError: "missing", "duplicate", "file" (no regular file), or "archive" where the
    archive itself cannot be read.
    """
    found = split(path)
    if found is None:
        return None
    stamp, name = found
    archive = _shelf.archive(stamp)
    archive.check(name)
    return stamp[0], partial(archive.read, name)


def prepare(path: str) -> None:
    """Index the archive that a path is, or leads through; what is wrong with it shows later."""
    found = split(f"{os.path.realpath(path)}/.")
    if found is None:
        return
    try:
        _shelf.archive(found[0])
    except MediaError:
        return


def split(path: str) -> tuple[Stamp, str] | None:
    """The archive on the way of a path, and the rest; None where no archive is on it."""
    at, names = path, list[str]()
    while at not in ("", "/"):
        at, name = posixpath.split(at)
        names.append(name)
        try:
            state = os.stat(at)  # noqa: PTH116 - once per image
        except NotADirectoryError:
            continue
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(state.st_mode):
            return None
        stamp = (at, state.st_size, state.st_mtime_ns, state.st_ino)
        if not _shelf.kind(stamp):
            return None
        return stamp, posixpath.normpath("/".join(reversed(names)))
    return None
