"""What is in a dataset: its columns and, where it is of a training format, its samples.

One pass over the rows, in bounded memory: numbers are kept as counts of buckets, and what was seen
before as digests in a temporary index on disk.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from xxhash import xxh3_128_digest

from mirage.config.data import SourceConfig
from mirage.dataset.opening import opened, scratch, training_format
from mirage.dataset.spread import Seen, Spread
from mirage.dataset.stores import STORE
from mirage.dataset.stores import opened as open_store
from mirage.dataset.verification import images_in
from mirage.errors import MediaError, boundary
from mirage.formats import shape
from mirage.formats.dataset_info import described
from mirage.formats.instruction import Instruction
from mirage.formats.shape import Locate, Reading, Shape, among
from mirage.media import guard, recognise, sniff
from mirage.places import place
from mirage.record import Image, Record
from mirage.sources.files import FileSource
from mirage.sources.mimicit import open_files
from mirage.store import Entry, ImageStore, unpacked

Progress = Callable[[int], None]
"""Called now and then with the number of rows that were looked at so far."""

SHOWN_EVERY = 1_000
COLUMNS = 500
KINDS: dict[type, str] = {str: "text", bool: "boolean", int: "integer", float: "number"}
KINDS |= {list: "list", tuple: "list", dict: "object", bytes: "bytes", Image: "image"}


class Column(Struct):
    """A key of the rows. Lengths are characters of texts, items of lists, keys of objects."""

    kinds: Counter[str] = field(default_factory=Counter)
    lengths: Spread = field(default_factory=Spread)

    @property
    def rows(self) -> int:
        return self.kinds.total()

    def add(self, value: Any) -> None:
        self.kinds[KINDS.get(type(value), type(value).__name__)] += 1
        if isinstance(value, str | list | tuple | dict):
            self.lengths.add(len(value))


class Samples(Struct):
    """The samples of a training format; lengths of texts are in characters."""

    turns: Spread = field(default_factory=Spread)
    images: Spread = field(default_factory=Spread)
    questions: Spread = field(default_factory=Spread)
    answers: Spread = field(default_factory=Spread)
    systems: Spread = field(default_factory=Spread)

    def add(self, sample: Instruction) -> None:
        self.turns.add(len(sample.turns))
        self.images.add(len(sample.images))
        for turn in sample.turns:
            (self.answers if turn.role == "assistant" else self.questions).add(len(turn.text))
        if sample.system:
            self.systems.add(len(sample.system))


class Images(Struct):
    """The images that rows show, each time that they do; `distinct` counts different bytes."""

    count: int = 0
    distinct: int = 0
    types: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    widths: Spread = field(default_factory=Spread)
    heights: Spread = field(default_factory=Spread)
    bytes: Spread = field(default_factory=Spread)


class Row(Struct, frozen=True):
    """A row to be shown: as it stands in its file, and the sample in it where there is one."""

    place: str
    values: Mapping[str, Any]
    sample: Instruction | None


class Inspection(Struct):
    """What was found. `repeated` counts rows that say, and show, what an earlier one did: in a
    training format their ids are left aside.
    """

    format: str
    files: int
    rows: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    repeated: int = 0
    columns: dict[str, Column] = {}
    uncounted: int = 0
    """Values in columns beyond the first so many."""
    samples: Samples | None = None
    images: Images = field(default_factory=Images)
    shown: list[Row] = []

    @property
    def read(self) -> int:
        return self.rows - self.unreadable.total()


def inspect(
    source: SourceConfig,
    *,
    base: Path,
    count: int = 0,
    progress: Progress = lambda rows: None,
) -> Inspection:
    """Look at every row of a dataset, up to `source.limit`, and at every image it shows.

    `count` rows are kept to be shown, drawn evenly and always the same. Raises ValueError where the
    dataset as a whole cannot be read.
    """
    with scratch() as room:
        name = training_format(source, base, room)
        rows = as_kept(source, name, base, room)
        given = source.image_base_path
        folder = rows.root if given is None else place(base, given)
        found = Inspection(name or "rows", len(rows.paths), samples=Samples() if name else None)

        def records() -> Iterator[tuple[Record, Shape | None]]:
            for span in rows.rest(()):
                form = described(shape(name), rows.root / span.file) if name else None
                yield from ((record, form) for record in rows.read(span))

        locate = among(folder, given=given is not None)
        return Look(found, locate, count, progress).over(records())


def inspect_store(path: Path, limit: int | None, count: int, progress: Progress) -> Inspection:
    """Look at an image store: a row is a key and an image, and one is repeated where its key is.

    Raises ValueError where there is no store at the path.
    """
    with open_store(path) as store:

        def records() -> Iterator[tuple[Record, None]]:
            for entry in islice(store.entries(), limit):
                image = Image(entry.key, path=str(path), member=partial(text_of, store, entry))
                digest = xxh3_128_digest(entry.key.encode("utf-8", "surrogatepass"))
                values = {"key": entry.key, "image": image}
                yield Record(store.where(entry), digest, values), None

        files = sum(1 for _ in path.glob("*.parquet")) if path.is_dir() else 1
        found, locate = Inspection(STORE, files), among(None, given=False)
        return Look(found, locate, count, progress).over(records())


def text_of(store: ImageStore, entry: Entry) -> bytes:
    return unpacked(store.text(entry))[0]


def as_kept(source: SourceConfig, name: str | None, base: Path, room: Path) -> FileSource:
    """The rows as they stand in their files: not yet as samples."""
    files = open_files(source, base, 0) if name == "mimic-it" else None
    plain = source.model_copy(update={"format": None if name else source.format})
    return files or opened(plain, base, room)


class Look(Struct):
    """The pass over the rows; `texts` and `pictures` are what was seen before."""

    found: Inspection
    locate: Locate
    count: int
    progress: Progress
    texts: Seen = field(default_factory=Seen)
    pictures: Seen = field(default_factory=Seen)
    kept: dict[int, Row] = {}
    dice: random.Random = field(default_factory=lambda: random.Random(0))

    def over(self, records: Iterable[tuple[Record, Shape | None]]) -> Inspection:
        """Look at every record, each with its format."""
        found = self.found
        with self.texts, self.pictures:
            for record, form in records:
                self.at(record, form)
                if found.rows % SHOWN_EVERY == 0:
                    self.progress(found.rows)
            found.repeated = found.read - self.texts.distinct
            found.images.distinct = self.pictures.distinct
        found.shown = [row for _, row in sorted(self.kept.items())]
        return found

    def at(self, record: Record, form: Shape | None) -> None:
        self.found.rows += 1
        if record.fault is not None:
            self.found.unreadable[record.fault.kind] += 1
            return
        values = recognise(dict(record.values))
        self.columns(values)
        sample = self.sample(record.values, form)
        self.keep(record.place, values, sample)
        if sample is None:
            for image in images_in(values):
                self.image(image)
            self.texts.add(record.digest)
        else:
            seen = [self.image(image) for _, image in sample.images]
            said = [(turn.role, turn.parts) for turn in sample.turns]
            self.texts.note(said, sample.system, sample.rejected, sample.choices, seen)

    def columns(self, values: Mapping[str, Any]) -> None:
        columns = self.found.columns
        for name, value in values.items():
            if name not in columns:
                if len(columns) == COLUMNS:
                    self.found.uncounted += 1
                    continue
                columns[name] = Column()
            if value is not None:
                columns[name].add(value)

    def sample(self, values: Mapping[str, Any], form: Shape | None) -> Instruction | None:
        """The sample in a row; one that breaks a rule is counted as such, and no further."""
        if form is None or self.found.samples is None:
            return None
        reading = Reading(self.locate)
        sample = form.read(values, reading)
        if reading.broken:
            self.found.broken += 1
            return None
        self.found.samples.add(sample)
        return sample

    def image(self, image: Image) -> bytes:
        """Count an image in; its digest, or what it is called where it cannot be read."""
        images = self.found.images
        images.count += 1
        try:
            with boundary(MediaError, "missing"):
                data = image.read()
            size, kind = guard(data), sniff(data)
        except MediaError as error:
            images.unreadable[error.kind] += 1
            return repr(image.given).encode()
        images.types[kind] += 1
        images.widths.add(size.width)
        images.heights.add(size.height)
        images.bytes.add(len(data))
        digest = xxh3_128_digest(data)
        self.pictures.add(digest)
        return digest

    def keep(self, place: str, values: Mapping[str, Any], sample: Instruction | None) -> None:
        """Keep each row with the same chance (Vitter's algorithm R)."""
        if len(self.kept) < self.count:
            self.kept[self.found.rows] = Row(place, values, sample)
        elif self.count and (spot := self.dice.randrange(self.found.read)) < self.count:
            self.kept.pop([*self.kept][spot])
            self.kept[self.found.rows] = Row(place, values, sample)
