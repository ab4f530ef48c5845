"""What a training format is: a shape of rows, what it can hold, and the rules of its readers.

The rules stand where rows are read, so that reading, converting and verifying cannot disagree. A
`Reading` collects whatever is wrong with one row; a row with nothing wrong is an `Instruction`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from msgspec import Struct
from msgspec.structs import asdict, replace

from mirage.errors import MediaError, SinkError
from mirage.formats.instruction import Instruction, Shown, in_front, turn
from mirage.media import file_state, locate
from mirage.places import Place, RemotePath
from mirage.record import Image

Kind = TypeVar("Kind")


class Fault(Struct, frozen=True):
    """A rule that a row breaks. A note breaks none, and is worth knowing."""

    rule: str
    message: str
    note: bool = False

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"


Locate = Callable[[Any], Image]


class Reading(Struct):
    """One row being read: how its images are found, and what is wrong with it so far."""

    locate: Locate
    faults: list[Fault] = []

    def fault(self, rule: str, message: str) -> None:
        self.faults.append(Fault(rule, message))

    def note(self, rule: str, message: str) -> None:
        self.faults.append(Fault(rule, message, note=True))

    @property
    def broken(self) -> list[Fault]:
        return [fault for fault in self.faults if not fault.note]

    def value(self, row: Mapping[str, Any], key: str, kind: type[Kind], default: Kind) -> Kind:
        """What stands at a key, null being nothing; the default, and a fault, for another type."""
        found = row.get(key)
        if found is None:
            return default
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            wanted = WORDS.get(kind, kind.__name__)
            self.fault("type", f"'{key}' is {word(found)}, not {wanted}")
            return default
        return found

    def text(self, row: Mapping[str, Any], key: str) -> str:
        return self.value(row, key, str, "")

    def needed(self, row: Mapping[str, Any], key: str) -> str:
        """A text that must be there; it may be empty."""
        if row.get(key) is None:
            self.fault("missing", f"'{key}' is missing")
        return self.text(row, key)

    def texts(self, row: Mapping[str, Any], key: str) -> tuple[str, ...]:
        """A list of texts."""
        found: list[Any] = self.value(row, key, list, [])
        if not all(isinstance(each, str) for each in found):
            self.fault("type", f"'{key}' is not a list of texts")
            return ()
        return tuple(found)

    def images(self, row: Mapping[str, Any], *keys: str) -> tuple[Shown, ...]:
        """The images at the first of the keys that is there: one, or a list of them."""
        for key in keys:
            found = row.get(key)
            if found is not None:
                values = found if isinstance(found, list | tuple) else [found]
                shown = (self.image(each) for each in values)
                return tuple(Shown("", each) for each in shown if each is not None)
        return ()

    def image(self, value: Any) -> Image | None:
        try:
            return self.locate(value)
        except MediaError as exc:
            self.fault(f"image-{exc.kind}", exc.message)
            return None

    def count(self, tags: int, images: int) -> None:
        """One tag for each image, once all images could be found."""
        if tags != images and not any(each.rule.startswith("image-") for each in self.faults):
            self.fault("tag-count", f"{tags} <image> tags for {images} images")


WORDS: dict[type, str] = {str: "a text", list: "a list", dict: "an object", int: "an integer"}
WORDS |= {float: "a number", bool: "a boolean", type(None): "null", Mapping: "an object"}


def word(found: Any) -> str:
    return WORDS.get(type(found), type(found).__name__)


def stands(folder: Path) -> bool:
    """Whether there is such a folder, or a file on the way to it, which may be an archive."""
    first = next(each for each in (folder, *folder.parents) if each.exists())
    return first == folder or first.is_file()


def among(base: Place | None, given: bool) -> Locate:
    """How the images of a dataset are found: below `base`; where the user has not named that
    folder (`given`), an absolute path stands for itself, unless the rows come out of a store.
    Raises ValueError where a folder here, or the archive that it is in, is not there.
    """
    own = not given and not isinstance(base, RemotePath)
    if given and isinstance(base, Path) and not stands(base):
        raise ValueError(f"the images' folder {base} does not exist")

    def find(value: Any) -> Image:
        if isinstance(value, Image) and value.member is not None:
            return value  # whether it is in its archive or store is seen when it is read
        if isinstance(value, Image):
            file_state(value)
        path = value.get("path") if isinstance(value, Mapping) else value
        free = own and isinstance(path, str) and os.path.isabs(path)  # noqa: PTH117
        found = locate(value, None if free else base)
        if not isinstance(found, Image):
            raise MediaError("type", f"an image is wanted, not {word(value)}")
        return found

    return find


class Holds(Struct, frozen=True):
    """What a format has a place for: names of `Instruction`'s fields, and five limits.

    `turns` and `images` are the most of each (0: any number); with `front`, images stand before the
    text of the first turn and nowhere else; only with `drawn` may answers have images. Fields in
    `needs` must not be empty.
    """

    fields: frozenset[str]
    turns: int = 0
    images: int = 0
    front: bool = False
    drawn: bool = False
    needs: frozenset[str] = frozenset()


NOTHING = asdict(Instruction(()))
ALL = frozenset(NOTHING)
CONVERSATION = frozenset({"turns", "images"})


class Shape(Protocol):
    """A training format: rows in, samples out, and back."""

    name: str
    holds: Holds
    containers: tuple[str, ...]
    """Which kinds of file it is kept in, the usual one first."""
    absolute: bool
    """Whether images are named by absolute paths; otherwise relative to the dataset."""
    marks: tuple[frozenset[str], ...]
    """A row that can be told to be of this format has all columns of one of these sets."""
    columns: Mapping[str, str]
    """Columns of a table whose type a row may not show: "image", "images", "string" ..."""

    def claims(self, row: Mapping[str, Any]) -> bool:
        """Whether a row can only be of this format: nothing is said of its rules."""
        ...

    def read(self, row: Mapping[str, Any], reading: Reading) -> Instruction:
        """The sample in a row. What breaks a rule is told to `reading`, all of it; the sample
        counts only where nothing was.
        """
        ...

    def write(self, sample: Instruction) -> dict[str, Any]:
        """The row of a sample, `Image`s where images stand. Raises SinkError("format") for one
        that the format would misread.
        """
        ...


def marked(columns: Iterable[str], marks: Iterable[frozenset[str]]) -> bool:
    """Whether these columns are those of a format by its `marks`."""
    return any(mark.issubset(columns) for mark in marks)


Together = Callable[[Instruction], Iterator[Fault]]
"""What the next sample of a file breaks by what came before it."""


@runtime_checkable
class Joint(Shape, Protocol):
    """A format with rules that no row can break alone."""

    def together(self) -> Together:
        """For the samples of one file, in order."""
        ...


def fit(sample: Instruction, shape: Shape) -> tuple[Instruction, tuple[str, ...]]:
    """The sample as far as a format can hold it, and the names of the fields that are lost.

    Raises SinkError("format") where too much would be lost to call it the same sample: a turn, an
    image, a question without its answer.
    """
    holds = shape.holds
    if not sample.turns:
        raise SinkError("format", "the sample has no turns")
    if holds.turns and len(sample.turns) > holds.turns:
        raise SinkError(
            "format", f"{shape.name} holds {holds.turns} turns, not {len(sample.turns)}"
        )
    if sample.images and "images" not in holds.fields:
        raise SinkError("format", f"{shape.name} holds no images")
    if holds.images and len(sample.images) > holds.images:
        count = len(sample.images)
        raise SinkError("format", f"{shape.name} holds {holds.images} images, not {count}")
    if sample.images and not holds.drawn and any(t.slots for t in sample.turns[1::2]):
        raise SinkError("format", f"{shape.name} has no images in answers")
    for name in sorted(holds.needs):
        if getattr(sample, name) == NOTHING[name]:
            raise SinkError("format", f"{shape.name} has no samples without '{name}'")
    lost = [
        name
        for name, empty in NOTHING.items()
        if name not in holds.fields and getattr(sample, name) != empty
    ]
    kept = replace(sample, **{name: NOTHING[name] for name in lost}) if lost else sample
    if "ids" not in holds.fields and any(id for id, _ in kept.images):
        lost.append("image ids")
        kept = replace(kept, images=tuple(Shown("", image) for _, image in kept.images))
    if holds.front and not leads(kept):
        lost.append("image positions")
        bare = [turn(t.role, *(p for p in t.parts if isinstance(p, str))) for t in kept.turns]
        kept = replace(kept, turns=in_front(bare, len(kept.images)))
    return kept, tuple(lost)


def leads(sample: Instruction) -> bool:
    """Whether all images stand before the first word."""
    count = len(sample.images)
    return not any(isinstance(part, str) for part in sample.turns[0].parts[:count]) and (
        sample.turns[0].slots == sample.slots
    )


def alternating(sample: Instruction, reading: Reading) -> None:
    """The rule of most loaders: user and assistant take turns, and the last word is an answer."""
    roles = [each.role for each in sample.turns]
    expected = ["user", "assistant"] * ((len(roles) + 1) // 2)
    if any(not fault.rule.startswith("image-") for fault in reading.broken):
        return  # what could not be read is missing among the turns
    if not roles:
        reading.fault("turns", "there are no turns")
    elif roles != expected[: len(roles)]:
        reading.fault("roles", f"user and assistant do not take turns: {', '.join(roles[:8])}")
    elif len(roles) % 2:
        reading.fault("roles", "the last turn has no answer")


def extras(row: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """What else stands in a row, nulls aside."""
    return {key: value for key, value in row.items() if key not in known and value is not None}
