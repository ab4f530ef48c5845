"""A dataset in a store: written here as any other, and sent when it is complete.

What it becomes here is a file or a folder in `stage`; of that, images are sent first, then the
rows, then whatever describes them. An object appears only when all of it is there, and of several
none before all have been sent: a transfer that breaks off leaves the old dataset. What stands in
the dataset's place is held against the sink's own rules, as empty files of the same names.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from mirage.errors import RunError
from mirage.formats.dataset_info import NAME
from mirage.places import RemotePath
from mirage.places.remote import MARKER
from mirage.places.sending import Sending, send_one
from mirage.record import Sink
from mirage.sinks.images import FOLDER
from mirage.sinks.over import Over

THREADS = 8


class RemoteSink(Over):
    """`make` gives the sink that writes to a path of this machine; `rows` is that in `stage`."""

    path: RemotePath
    stage: Path
    make: Callable[[Path], Sink]

    def check(self) -> None:
        """Raises RunError also where the store, or what stands there, cannot be looked at."""
        with tempfile.TemporaryDirectory(prefix="mirage-") as room:
            here = Path(room) / self.path.name
            try:
                self.path.check_bucket()
                self.mirror(here)
            except OSError as exc:
                raise RunError(str(exc)) from exc
            try:
                self.make(here).check()
            except RunError as exc:
                raise RunError(str(exc).replace(str(here.parent), str(self.path.parent))) from exc

    def mirror(self, here: Path) -> None:
        """Lay out what stands in the dataset's place, and the description beside it."""
        if self.path.look_for() is None:
            pass
        elif self.path.is_dir():
            here.mkdir()
            for path in self.path.walk():
                place = here / path.relative_to(self.path)
                if place.name != MARKER:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.touch()
        else:
            here.touch()
        self.describe(here)

    def describe(self, here: Path) -> None:
        try:
            here.with_name(NAME).write_bytes(self.path.with_name(NAME).read_bytes())
        except FileNotFoundError:
            return

    def publish(self, parts: Sequence[Path], columns: Any | None) -> None:
        """Make the dataset here and send it. Safe when it is repeated."""
        self.check()
        shutil.rmtree(self.stage, ignore_errors=True)
        self.stage.mkdir(parents=True)
        try:
            here = self.stage / self.path.name
            self.describe(here)
            self.rows.publish(parts, columns)
            self.send(here)
        finally:
            shutil.rmtree(self.stage, ignore_errors=True)

    def send(self, here: Path) -> None:
        files = [path for path in sorted(self.stage.rglob("*")) if path.is_file()]
        sent = {path: self.path.parent / path.relative_to(self.stage).as_posix() for path in files}
        home = self.path if here.is_dir() else self.path.parent
        images = [path for path in files if sent[path].parent == home / FOLDER]
        rows = [path for path in files if path not in images and path != here.with_name(NAME)]
        there = {*(home / FOLDER).walk()} if images else set()  # by the hash of their content
        with ThreadPoolExecutor(THREADS) as pool:
            fresh = [image for image in images if sent[image] not in there]
            for _ in pool.map(send_one, fresh, [sent[image] for image in fresh]):
                pass
        with Sending() as sending:
            for path in rows:
                sending.send(path, sent[path])
            if here.is_dir():
                (self.path / MARKER).unlink(missing_ok=True)
            sending.commit()
        if here.is_dir():
            self.mark({sent[path]: path.stat().st_size for path in files if here in path.parents})
        if here.with_name(NAME) in sent:
            sent[here.with_name(NAME)].write_bytes(here.with_name(NAME).read_bytes())

    def mark(self, sizes: Mapping[RemotePath, int]) -> None:
        """Take away what an earlier dataset had more, and say that this one is complete."""
        for path in list(self.path.walk()):
            if path not in sizes:
                path.unlink(missing_ok=True)
        files = {path.relative_to(self.path).as_posix(): size for path, size in sizes.items()}
        (self.path / MARKER).write_bytes(orjson.dumps({"files": files}))
