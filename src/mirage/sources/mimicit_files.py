"""Which files a MIMIC-IT dataset is made of: instructions, training set, image store."""

from __future__ import annotations

import glob
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path

from msgspec import Struct
from xxhash import xxh3_128

from mirage.errors import MediaError
from mirage.record import Image
from mirage.sources.bytewise import BOM
from mirage.sources.json_object import Entries
from mirage.sources.mimicit_index import Index
from mirage.store import ImageStore, open_store

INSTRUCTIONS, TRAIN = "_instructions.json", "_train.json"
KNOWN = frozenset({b'"instruction"', b'"answer"', b'"image_ids"', b'"rel_ins_ids"'})

REMEMBERED = 10_000
"""For how many keys it is remembered that the store has them."""


def datasets(path: Path, *, asked: bool) -> list[Path]:
    """The instructions at a path, or a glob: in a folder, all files of that name; `asked` takes a
    file of any name. What is no JSON object is none of them.
    """
    if path.is_dir():
        found = sorted(path.glob(f"*{INSTRUCTIONS}"))
    else:  # Path.glob would refuse patterns that other sources take
        found = [path] if path.is_file() else sorted(map(Path, glob.iglob(str(path))))  # noqa: PTH207
    ending = ".json" if asked else INSTRUCTIONS
    return [each for each in found if each.name.endswith(ending) and is_object(each)]


def is_object(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(1 << 10).removeprefix(BOM).lstrip()[:1] == b"{"


class Dataset(Struct, dict=True):
    """One dataset's files; `images` is its store where it does not stand beside them."""

    path: Path
    images: Path | None = None

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(INSTRUCTIONS).removesuffix(".json")

    @property
    def train(self) -> Path | None:
        """The training file, where there is one."""
        found = self.path.with_name(self.name + TRAIN)
        return found if found.is_file() else None

    @cached_property
    def store(self) -> ImageStore | None:
        """The image store: `NAME.parquet`, a folder `NAME` of parts, or `NAME.json`."""
        beside = [self.path.with_name(self.name + suffix) for suffix in (".parquet", "", ".json")]
        for found in [self.images] if self.images else beside:
            if found != self.path and (self.images or found.is_file() or any(found.glob("*.par*"))):
                return open_store(found)
        return None

    @cached_property
    def entries(self) -> Entries:
        return Entries(self.path, KNOWN)

    @cached_property
    def trained(self) -> Entries | None:
        return None if self.train is None else Entries(self.train)

    @cached_property
    def index(self) -> Index:
        return Index(self.entries, self.trained)

    @cached_property
    def mark(self) -> bytes:
        """A digest of the training file, which decides what the rows are."""
        hashed = xxh3_128()
        if self.trained is not None:
            with self.trained.streams.at(self.trained.path) as stream:
                for data in stream.chunks():
                    hashed.update(data)
        return hashed.digest() if self.train else b""

    def image(self, key: str) -> Image:
        """The image of a key, read when it is wanted; whether it is there, `holds` says."""
        if self.store is not None:
            return self.store.image(key)

        def missing() -> bytes:
            raise MediaError("missing", f"{key}: there is no image store beside {self.path}")

        return Image(key, path=str(self.path), member=missing)

    @cached_property
    def holds(self) -> Callable[[str], bool]:
        """Whether the store holds a key; the same images are often asked for again."""
        store = self.store
        return (lambda key: False) if store is None else lru_cache(REMEMBERED)(store.__contains__)
