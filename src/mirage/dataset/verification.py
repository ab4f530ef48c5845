"""Every row held against the rules of its format, every image decoded: what a loader would find.

The rules of a row stand with the format that reads it (`mirage.formats`); here they are asked of
every row, and nothing stops at the first that is broken.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from mirage.config.data import SourceConfig
from mirage.dataset.containers import container
from mirage.dataset.opening import opened, scratch, training_format
from mirage.errors import MediaError, SourceError, boundary
from mirage.formats import shape
from mirage.formats.dataset_info import described
from mirage.formats.instruction import Instruction
from mirage.formats.shape import Fault, Joint, Locate, Reading, Shape, Together, among
from mirage.media import guard, recognise, sniff
from mirage.places import place
from mirage.record import Image, Record
from mirage.sources.files import FileSource
from mirage.sources.shaped import identified
from mirage.sources.wrapping import wrapping

STEP = 1_000
"""How many rows, or images, are looked at between two reports of progress."""
SUFFIXES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}


class Violation(Struct, frozen=True):
    """A rule that a row breaks, and where; a note is no violation, and counts as none."""

    place: str
    rule: str
    message: str
    note: bool = False


Report = Callable[[Violation], None]


class Verification(Struct):
    """What was looked at, and how often each rule was broken."""

    format: str
    rows: int = 0
    images: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def sound(self) -> bool:
        return not self.broken

    def tell(self, place: str, fault: Fault, report: Report) -> None:
        (self.notes if fault.note else self.broken)[fault.rule] += 1
        report(Violation(place, fault.rule, fault.message, fault.note))


def verify(
    source: SourceConfig,
    *,
    base: Path,
    report: Report,
    progress: Callable[[int], None] = lambda rows: None,
) -> Verification:
    """Look at every row and every image of a dataset, and `report` whatever breaks a rule;
    `progress` is told now and then how many rows were looked at.

    Raises ValueError where the dataset as a whole cannot be read.
    """
    with scratch() as room:
        name = training_format(source, base, room)
        form = shape(name) if name else None
        plain = source.model_copy(update={"format": None if name else source.format})
        rows = opened(plain, base, room, bare=False)
        found = Verification(name or "rows")
        rules = container(rows)
        given = source.image_base_path
        folder = rows.root if given is None else place(base, given)
        locate = among(folder, given=given is not None)
        together: Together = alone
        for span in rows.rest(()):
            here = form and described(form, rows.root / span.file)
            if span.row == 0:
                together = here.together() if isinstance(here, Joint) else alone
            for number, record in enumerate(rows.read(span), span.row):
                found.rows += 1
                if not found.rows % STEP:
                    progress(found.rows)
                if rules is not None and record.fault is None:
                    for fault in rules.row(record):
                        found.tell(record.place, fault, report)
                look(freed(record, number, rows), here, locate, found, report, together=together)
        for where, fault in rules.whole() if rules is not None else ():
            found.tell(where, fault, report)
    return found


def freed(record: Record, number: int, rows: FileSource) -> Record:
    """A record without what its container wraps around it."""
    take_off = wrapping(rows.format, checked=False)
    if take_off is None or record.fault is not None:
        return record
    try:
        return record.with_values(take_off(record.values, number))
    except SourceError as exc:
        return replace(record, fault=exc)


def alone(sample: Instruction) -> Iterator[Fault]:
    """The rules that rows break together, where a format has none."""
    yield from ()


def look(
    record: Record,
    form: Shape | None,
    locate: Locate,
    found: Verification,
    report: Report,
    *,
    together: Together,
) -> None:
    """One row: what its reader says, and what becomes of its images."""
    if record.fault is not None:
        found.tell(record.place, Fault(record.fault.kind, record.fault.message), report)
        return
    reading = Reading(locate)
    if form is None:
        images = list(images_in(recognise(dict(record.values))))
    else:
        sample = form.read(identified(record.values), reading)
        reading.faults += together(sample)
        images = [image for _, image in sample.images]
    for image in images:
        found.images += 1
        try:
            decoded(image, reading)
        except MediaError as exc:
            name = image.name or "an image"
            reading.fault(f"image-{exc.kind}", f"{name}: {exc.message}")
    for fault in reading.faults:
        found.tell(record.place, fault, report)


def images_in(value: Any) -> Iterator[Image]:
    if isinstance(value, Image):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from images_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from images_in(item)


def decoded(image: Image, reading: Reading) -> None:
    """Decode an image to its last pixel. Raises MediaError. A name that says another kind of image
    than the bytes do is worth a note: loaders go by the bytes.
    """
    from PIL import Image as Pillow

    with boundary(MediaError, "missing"):
        data = image.read()
    guard(data)
    with boundary(MediaError, "broken"), Pillow.open(io.BytesIO(data)) as picture:
        picture.load()
    kind, said = sniff(data), SUFFIXES.get(PurePath(image.name or "").suffix.lower())
    if said is not None and said != kind:
        reading.note("image-name", f"{image.name} holds {kind}")
