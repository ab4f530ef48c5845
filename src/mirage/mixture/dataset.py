"""One dataset of a mixture: its training set, read one example at a time.

The keys of the train file are the training set, and its values the related instructions. Where
there is none, every instruction is trained on, and its own `rel_ins_ids` serve. Images are looked
up in the stores when they are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct

from mirage.errors import MediaError, SourceError
from mirage.formats.instruction import Instruction
from mirage.formats.mimicit import MimicIt
from mirage.formats.shape import Reading, among, word
from mirage.mixture.declaration import Declared
from mirage.mixture.entries import Entries
from mirage.record import Image
from mirage.sources.mimicit_files import KNOWN
from mirage.sources.shaped import broken as told
from mirage.store import ImageStore, open_store

SHAPE = MimicIt()
LOCATE = among(None, given=False)


class Example(Struct, frozen=True):
    """What is trained on: an instruction, behind those that it relates to.

    `description` is the one of the dataset's task descriptions that was drawn for it.
    """

    group: str
    dataset: str
    query: Instruction
    related: tuple[Instruction, ...] = ()
    description: str = ""

    @property
    def id(self) -> str:
        return self.query.id


class Dataset:
    """A declared dataset, opened. Raises ConfigError where a file cannot be what it shall be."""

    def __init__(self, declared: Declared, stores: Stores) -> None:
        self.declared = declared
        self.stores = stores
        try:
            self.instructions = Entries(declared.instructions, KNOWN)
            self.train = None if declared.train is None else Entries(declared.train)
            for path in declared.images:
                self.stores.at(path)
        except (ValueError, OSError) as exc:
            raise declared.mistake(exc) from exc

    def __len__(self) -> int:
        return len(self.trained)

    @property
    def name(self) -> str:
        return self.declared.name

    @property
    def trained(self) -> Entries:
        """The entries whose keys are the training set."""
        return self.instructions if self.train is None else self.train

    def place(self, number: int) -> str:
        return f"{self.trained.path}: {self.trained.key(number)}"

    def example(self, number: int, reading: Reading, seed: str = "0") -> Example:
        """An example of the training set; what is wrong with it is told to `reading`."""
        id, related = self._asked(number, reading)
        at = self.instructions.find(id)
        if at is None:
            reading.fault("dangling-train", f"there is no instruction {id!r:.120}")
        query = Instruction((), id=id) if at is None else self.instruction(at, reading)
        before = []
        for other in query.related if related is None else related:
            at = self.instructions.find(other)
            if at is None:
                reading.fault("dangling-related", f"there is no instruction {other!r:.120}")
            else:
                before.append(self.instruction(at, reading))
        descriptions = self.declared.descriptions
        drawn = Random(f"{seed}/{self.name}/{id}").choice(descriptions) if descriptions else ""
        return Example(self.declared.group, self.name, query, tuple(before), drawn)

    def instruction(self, number: int, reading: Reading) -> Instruction:
        """An instruction with its images, none of which is read."""
        try:
            id, values = self.instructions[number]
        except SourceError as error:
            reading.fault(error.kind, error.message)
            return Instruction((), id=self.instructions.key(number))
        if not isinstance(values, Mapping):
            reading.fault("type", f"{id!r:.120} is {word(values)}, not an object")
            return Instruction((), id=id)
        ids = values.get("image_ids")
        keys = [key for key in ids if isinstance(key, str)] if isinstance(ids, list) else []
        images = [self.image(key, reading) for key in keys]
        unread: dict[str, Any] = {} if self.train is None else {"rel_ins_ids": []}
        return SHAPE.read({**unread, **values, "id": id, "images": images}, reading)

    def image(self, key: str, reading: Reading) -> Image:
        for path in self.declared.images:
            store = self.stores.at(path)
            if key in store:
                return store.image(key)
        reading.fault("dangling-image", f"there is no image {key!r:.120}")
        return Image(key, data=b"")

    def close(self) -> None:
        for entries in (self.instructions, *([self.train] if self.train else [])):
            entries.close()
        self.stores.close()

    def torn(self) -> Iterator[tuple[str, str]]:
        """Files that break off, and where; of image stores, once their keys were read."""
        for entries in (self.instructions, *([self.train] if self.train else [])):
            if entries.torn:
                yield str(entries.path), f"the file is torn {entries.torn}; the rest is not read"
        for torn in (self.stores.at(path).torn for path in self.declared.images):
            if torn is not None:
                yield torn.place, torn.message

    def _asked(self, number: int, reading: Reading) -> tuple[str, tuple[str, ...] | None]:
        """The id of an example, and what it relates to; None where the instruction itself says."""
        if self.train is None:
            return self.instructions.key(number), None
        try:
            id, found = self.train[number]
        except SourceError as error:
            reading.fault(error.kind, error.message)
            return self.train.key(number), ()
        return id, reading.texts({"related": found}, "related")


class Stores:
    """Image stores by their paths, each opened once, by the process that reads it."""

    def __init__(self) -> None:
        self._opened: dict[Path, ImageStore] = {}
        self._inherited: dict[Path, ImageStore] = {}
        self._process = os.getpid()

    def at(self, path: Path) -> ImageStore:
        """Raises ValueError or OSError where there is no store at the path."""
        if self._process != os.getpid():
            self._inherited = self._opened  # not closed here: they are the other process's
            self._opened, self._process = {}, os.getpid()
        if path not in self._opened:
            self._opened[path] = open_store(path)
        return self._opened[path]

    def close(self) -> None:
        for store in self._opened.values() if self._process == os.getpid() else ():
            store.close()
        self._opened.clear()

    def __getstate__(self) -> dict[str, Any]:
        return {"_opened": {}, "_inherited": {}, "_process": os.getpid()}


def broken(reading: Reading) -> SourceError:
    """What is wrong with an example, as one error."""
    return told(reading, SHAPE.name)


def bytes_of(image: Image) -> bytes:
    """The bytes of an image. Raises MediaError."""
    try:
        return image.read()
    except OSError as exc:
        raise MediaError("unreadable", str(exc)) from exc
