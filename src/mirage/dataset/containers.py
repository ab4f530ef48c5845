"""The rules of what rows are kept in, beside those of their training format.

They are those of the loaders: the library `webdataset`, and `load_dataset` of `datasets` for
archives, folders of images and tables. What one of two loaders reads and the other does not is a
note.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, field

from mirage.dataset.metadata import unlike, unread
from mirage.formats.shape import Fault
from mirage.places import Place, relative
from mirage.record import Record
from mirage.sources.files import FileSource
from mirage.sources.find import IMAGES, walk
from mirage.sources.identity import hash64
from mirage.sources.images import ImageFile, WithImages, column_of
from mirage.sources.json_array import JsonArray
from mirage.sources.lines import Lines
from mirage.sources.tables import Tables
from mirage.sources.webdataset import Shards
from mirage.store.index import scratch

LOOKED_AT = 5
"""How many samples `load_dataset("webdataset")` tells the columns by."""

Told = tuple[str, Fault]
"""Where a rule of the dataset as a whole is broken, and how."""


class Container(Protocol):
    """What rows are kept in, as it is verified."""

    def row(self, record: Record) -> Iterable[Fault]:
        """What is wrong with a row as it is kept."""
        ...

    def whole(self) -> Iterable[Told]:
        """What is wrong with the dataset, once all its rows were seen."""
        ...


def container(rows: FileSource) -> Container | None:
    """The rules for the files of a source; None where there are none."""
    match rows.format:
        case Shards():
            return Archives(Index())
        case WithImages():
            return Folder(rows, Index())
        case Tables() if rows.growing is None and isinstance(rows.root, Path):
            return TableFiles(rows)
        case Lines() | JsonArray():
            return Texts()
        case ImageFile() | _:
            return None


class Index:
    """Short texts by 64-bit keys, on disk: memory does not grow with the dataset."""

    def __init__(self) -> None:
        self.database = scratch()
        self.database.execute("CREATE TABLE known (key INTEGER PRIMARY KEY, text) WITHOUT ROWID")

    def add(self, name: str, text: str = "") -> str | None:
        """Note a text, unless there is one for this name already: that one."""
        query = "INSERT OR IGNORE INTO known VALUES (?, ?)"
        if self.database.execute(query, (hash64(name), text)).rowcount:
            return None
        return self.get(name)

    def get(self, name: str) -> str | None:
        query = "SELECT text FROM known WHERE key = ?"
        found = self.database.execute(query, (hash64(name),)).fetchone()
        return None if found is None else str(found[0])


class Styles(Struct):
    """Contents of messages are texts, or lists of parts: a column can be one of these only."""

    seen: dict[str, str] = {}

    def add(self, record: Record, row: Mapping[str, Any]) -> None:
        for value in row.values():
            for message in value if isinstance(value, list) else ():
                content = message.get("content") if isinstance(message, Mapping) else None
                if isinstance(content, str | list):
                    style = "a text" if isinstance(content, str) else "a list of parts"
                    self.seen.setdefault(style, record.place)

    def told(self, message: str, *, note: bool) -> Iterator[Told]:
        if len(self.seen) > 1:
            (one, first), (other, second) = self.seen.items()
            mixed = f"`content` is {one} in {first} and {other} in {second}: {message}"
            yield second, Fault("content-style", mixed, note)


class Texts(Struct):
    """JSON, in lines or in an array."""

    styles: Styles = field(default_factory=Styles)

    def row(self, record: Record) -> Iterable[Fault]:
        self.styles.add(record, record.values)
        return ()

    def whole(self) -> Iterable[Told]:
        return self.styles.told("`datasets` 4.4 does not read it, 5.2 does", note=True)


class Archives(Struct):
    """Shards of WebDataset. `known` has the place and the members of every key."""

    known: Index
    count: int = 0
    first: str = ""
    columns: set[str] = set()
    refused: bool = False
    styles: Styles = field(default_factory=Styles)

    def row(self, record: Record) -> Iterator[Fault]:
        key = str(record.values["__key__"])
        kinds = record.values.keys() - {"__key__"}
        inner = record.values.get("json")
        if isinstance(inner, Mapping):
            self.styles.add(record, inner)
        dotted = sorted(kind for kind in kinds if kind.endswith(".json"))
        if dotted and "json" not in kinds:
            message = f"a key ends at its first dot: the key is {key!r}, its members {dotted}"
            yield Fault("key-dots", message)
        if key.rpartition("/")[2].startswith("__"):
            yield Fault("key-hidden", f"load_dataset passes over the key {key!r}", note=True)
        yield from self.again(key, kinds, record.place)
        yield from self.members(kinds, record.place)
        self.count += 1

    def again(self, key: str, kinds: set[str], place: str) -> Iterator[Fault]:
        """A key that has been there before: its sample is torn apart, or there are two of it."""
        before = self.known.add(key, "\0".join([place, *sorted(kinds)]))
        if before is None:
            return
        where, *had = before.split("\0")
        if where.rpartition("#")[0] == place.rpartition("#")[0] and kinds.isdisjoint(had):
            message = f"members of {key!r} stand in {where} as well: both are read as samples"
            yield Fault("adjacent", message)
        else:
            yield Fault("duplicate-key", f"{where} has the key {key!r} as well", note=True)

    def members(self, kinds: set[str], place: str) -> Iterator[Fault]:
        """`load_dataset` takes the columns from the first samples, which have to be alike."""
        if not self.first:
            self.first, self.columns = place, kinds
        if self.count < LOOKED_AT and kinds != self.columns and not self.refused:
            self.refused = True
            message = f"its members are not those of {self.first}: load_dataset refuses the dataset"
            yield Fault("members", message, note=True)
        elif self.count >= LOOKED_AT and (new := sorted(kinds - self.columns)):
            message = f"load_dataset leaves out {', '.join(new)}: no sample had that at first"
            yield Fault("members", message, note=True)
        self.columns = self.columns | kinds if self.count >= LOOKED_AT else self.columns

    def whole(self) -> Iterable[Told]:
        return self.styles.told("load_dataset does not read it", note=True)


class Folder(Struct):
    """A folder of images with metadata; `known` are the files that it names."""

    rows: FileSource
    known: Index
    names: int = 0

    def row(self, record: Record) -> Iterator[Fault]:
        for key, value in record.values.items():
            column = column_of(key)
            if column is None:
                for found in deeper(value):
                    message = f"load_dataset takes '{found}' within '{key}' for the name of a file"
                    yield Fault("file-name", message)
                continue
            paths = record.values[column]
            if key.endswith("file_names") and not value:
                yield Fault("no-images", f"load_dataset fails: '{key}' is a list of no images")
            for path in paths if isinstance(paths, list) else [paths]:
                if path is not None:
                    self.names += 1
                    self.known.add(path)

    def whole(self) -> Iterator[Told]:
        for path in self.rows.paths:
            place = self.place(path)
            if (trouble := unread(Path(str(path)))) is not None:
                yield place, Fault("metadata", f"load_dataset does not read it: {trouble}")
        if not self.names:
            yield (
                self.place(self.rows.paths[0]),
                Fault("no-files", "no row names the file of an image"),
            )
        for path in walk(self.rows.root):
            if path.suffix.lower() in IMAGES and self.known.get(str(path)) is None:
                yield self.place(path), Fault("unnamed", "no row names this image", note=True)

    def place(self, path: Place) -> str:
        return f"{self.rows.number}/{relative(path, self.rows.root)}"


class TableFiles(Struct):
    """Parquet files, and the Arrow files of a folder of Hugging Face."""

    rows: FileSource

    def row(self, record: Record) -> Iterable[Fault]:
        return ()

    def whole(self) -> Iterator[Told]:
        for path in self.rows.paths:
            place = f"{self.rows.number}/{relative(path, self.rows.root)}"
            for rule, message in unlike(Path(str(path)), Path(str(self.rows.paths[0]))):
                yield place, Fault(rule, message)


def deeper(value: Any) -> Iterator[str]:
    """Keys of nested objects that name files."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if column_of(key) is not None and item is not None:
                yield key
            yield from deeper(item)
    elif isinstance(value, list):
        for item in value:
            yield from deeper(item)
