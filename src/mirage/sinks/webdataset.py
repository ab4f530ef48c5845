"""WebDataset: tar files in which the members of a sample stand next to each other.

    000000000017.json   the row, with null or an empty list where images stood
    000000000017.png    its image; of several: 000000000017.0.png, 000000000017.1.png ...

A key is the number of the archive and that of the sample in it, six digits each, or what the row
has in `__key__`. It has no dot: both the library `webdataset` and `load_dataset("webdataset")` end
it at the first one. Images of columns other than `image` and `images` have the column's name before
their extension. No time, no owner: equal rows make equal bytes.

A part holds members as they come, behind a line with their names and sizes; archives are made of
parts when the dataset is published.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import orjson
from msgspec import Struct

from mirage import atomic
from mirage.errors import MediaError, RunError, SinkError
from mirage.media import extension, sniff
from mirage.record import Image, PartReport
from mirage.sinks.apart import apart, deeper
from mirage.sinks.dataset import new_file, new_folder, refuse_folder, refuse_foreign
from mirage.sinks.images import read
from mirage.sinks.jsonl import line

OURS = r"shard-\d{6,}\.tar"
SHARD = 1 << 30
"""The size in bytes beyond which a further archive begins, where the dataset is a folder."""
COLUMN = re.compile(r"[a-z_][a-z0-9_-]*")
KEY = re.compile(r"(?:[^/\0]+/)*(?!__)[^./\0][^./\0]*")
Members = list[tuple[str, bytes]]


class WebdatasetSink(Struct):
    """One archive, or a folder of them: one for each part, or several where a part is large."""

    suffix: ClassVar[str] = ".tar"

    path: Path
    folder: bool

    def check(self) -> None:
        if self.folder:
            refuse_foreign(self.path, OURS)
        else:
            refuse_folder(self.path)

    def write(
        self, part: Path, rows: Iterable[Mapping[str, Any]], columns: Any | None = None
    ) -> PartReport:
        """Write a part. Rejected: what JSON cannot hold, images that cannot be read or are of no
        known kind, columns of images whose names no member can have, keys that would be misread.
        """
        rejected: list[tuple[int, SinkError]] = []
        written, last = 0, None
        with atomic.writing(part) as file:
            for index, row in enumerate(rows):
                try:
                    key, members = sample(row)
                    if key is not None and key == last:
                        raise SinkError("key", f"the sample before it has the key '{key}' too")
                except SinkError as error:
                    rejected.append((index, error))
                    continue
                head = [key, [(kind, len(data)) for kind, data in members]]
                file.write(orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE))
                file.writelines(data for _, data in members)
                written, last = written + 1, key
        return PartReport(written, tuple(rejected))

    def columns(self, parts: Sequence[Path]) -> None:
        """Samples have no column types."""

    def fits(self, part: Path, columns: Any | None) -> bool:
        return True

    def publish(self, parts: Sequence[Path], columns: Any | None) -> None:
        if not self.folder:
            with new_file(self.path, parts) as temporary, Archives(lambda _: temporary) as single:
                for part in parts:
                    single.add(part, 0)
            return
        with (
            new_folder(self.path, parts, OURS) as new,
            Archives(lambda number: new / f"shard-{number:06}.tar") as archives,
        ):
            for part in parts:
                archives.add(part, SHARD)
                archives.close()


class Archives:
    """Archives being written one after the other; there is at least one, if an empty one."""

    def __init__(self, place: Callable[[int], Path]) -> None:
        self.place = place
        self.number = -1
        self.samples = 0
        self.last = ""
        self.file: BinaryIO | None = None
        self.stack = ExitStack()

    def add(self, part: Path, limit: int) -> None:
        """Write all samples of a part, a further archive beginning at `limit` bytes (0: never).

        Raises RunError where two samples would become one: their keys are equal.
        """
        for key, members in samples(part):
            if self.file is not None and limit and self.file.tell() >= limit:
                self.close()
            file = self.file or self.open()
            name = key if key is not None else f"{self.number:06}{self.samples:06}"
            if name == self.last:
                raise RunError(f"two samples, one after the other, have the key '{name}'")
            self.samples, self.last = self.samples + 1, name
            for kind, data in members:
                info = tarfile.TarInfo(f"{name}.{kind}")
                info.size = len(data)
                file.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8"))
                file.write(data)
                file.write(bytes(-len(data) % tarfile.BLOCKSIZE))

    def open(self) -> BinaryIO:
        self.number, self.samples, self.last = self.number + 1, 0, ""
        opened = self.place(self.number).open("xb", buffering=atomic.CHUNK)
        self.file = self.stack.enter_context(opened)
        return self.file

    def close(self) -> None:
        """End the archive that is open: two empty blocks, and all to the size of a record."""
        if self.file is not None:
            end = self.file.tell() + 2 * tarfile.BLOCKSIZE
            self.file.write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
            self.stack.close()
            self.file = None

    def __enter__(self) -> Archives:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if self.number < 0:
                self.open()
            self.close()
        self.stack.close()


def samples(part: Path) -> Iterator[tuple[str | None, Members]]:
    """The samples of a part, one at a time: the key, where the row gave one, and the members."""
    with part.open("rb", buffering=atomic.CHUNK) as file:
        while head := file.readline():
            key, sizes = orjson.loads(head)
            yield key, [(kind, file.read(size)) for kind, size in sizes]


def sample(row: Mapping[str, Any]) -> tuple[str | None, Members]:
    """The key that a row gives, and its members. Raises SinkError."""
    values, shown = apart(row)
    key = key_of(values.pop("__key__", None))
    members = [("json", line(values, deeper)[:-1])]
    for name, images in shown.items():
        stem = stem_of(name, values)
        if isinstance(images, Image):
            members.append(member(stem, images))
        elif len(images) == 1:
            members.append(member(stem, images[0]))
        else:
            members += [member(f"{stem}{at}.", image) for at, image in enumerate(images)]
    return key, members


def key_of(key: Any) -> str | None:
    if key is None:
        return None
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise SinkError("key", f"a key is a name without dots, not {key!r:.200}")
    if {".", ".."} & {*key.split("/")}:
        raise SinkError("key", f"a key leads nowhere else: {key!r:.200}")
    return key


def stem_of(column: str, values: Mapping[str, Any]) -> str:
    """What stands between the key and the extension of a column's images."""
    if column == "image" or (column == "images" and "image" not in values):
        return ""
    if not COLUMN.fullmatch(column):
        message = f"a column of images is named in a-z, 0-9 and _ here, not {column!r:.200}"
        raise SinkError("column", message)
    return f"{column}."


def member(stem: str, image: Image) -> tuple[str, bytes]:
    data = read(image)
    try:
        return stem + extension(sniff(data)), data
    except MediaError as exc:
        raise SinkError("image", exc.message) from exc
