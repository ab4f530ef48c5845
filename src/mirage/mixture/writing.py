"""A mixture as rows in the order of an epoch, so that any sink can write it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mirage import atomic
from mirage.config.data import SinkConfig
from mirage.dataset.conversion import Conversion, Progress, target_of, write
from mirage.errors import SinkError, SourceError
from mirage.formats.shape import Reading
from mirage.mixture.chat import ChatTemplate
from mirage.mixture.dataset import LOCATE, Example, broken
from mirage.mixture.mixture import Mixture
from mirage.mixture.rendering import Text, checked, conversation, simple
from mirage.mixture.sampling import Numbers
from mirage.record import FileState, Record, Span
from mirage.sinks import open_sink
from mirage.sources.blocks import BOUNDS, Bounds
from mirage.sources.shaped import SampleRow

Render = Callable[[Example], Text]
FILE = "epoch"


def rendering(name: str, tokenizer: str | Path | None = None) -> Render:
    """How an example becomes text: "simple", or "chat" with the folder of a tokenizer.

    Raises ConfigError for a folder without a template, ValueError where none is given.
    """
    if name == "simple":
        return rendered
    if tokenizer is None:
        raise ValueError("the chat template is that of a tokenizer: give its folder")
    template = ChatTemplate(tokenizer)

    def chat(example: Example) -> Text:
        sample = conversation(example)
        return Text(template.render(sample), sample.images)

    return chat


def rendered(example: Example) -> Text:
    """An example in the format `simple`. Raises SourceError where tags do not fit images."""
    reading = Reading(LOCATE)
    checked(example, reading)
    if reading.broken:
        raise broken(reading)
    return simple(example)


def write_mixture(
    mixture: Mixture,
    sink: SinkConfig,
    *,
    base: Path,
    render: Render | None = None,
    batch_size: int = 1,
    epoch: int = 0,
    progress: Progress = lambda rows: None,
) -> Conversion:
    """Write an epoch: as samples of the sink's format, or as texts where `render` is given.

    An example that breaks a rule, or that the format cannot hold, is refused and listed beside the
    target. Raises ValueError where the format cannot be told.
    """
    target, beside = target_of(sink, base)
    for path in (path for each in mixture.datasets for path in each.declared.files()):
        if path.resolve() == target or (
            isinstance(target, Path) and target in path.resolve().parents
        ):
            raise ValueError(f"{sink.path} would take the place of {path}, which is read")
    order = array("Q")
    for batch in mixture.batches(batch_size, epoch):
        order.extend(batch)
    with atomic.workspace(beside) as room:
        samples = render is None
        into = open_sink(sink, base=base, declared={}, samples=samples, stage=room / "upload")
        into.check()
        told = Conversion("mixture", sink.format or into.suffix.lstrip("."))
        return write(Rows(mixture, order, render), into, target, room, told, progress=progress)


class Rows:
    """A source whose rows are examples of a mixture, in a given order."""

    def __init__(self, mixture: Mixture, order: Numbers, render: Render | None) -> None:
        self.mixture = mixture
        self.order = order
        self.render = render

    def files(self) -> Iterable[FileState]:
        return ()

    def rest(self, stored: Sequence[Span], bounds: Bounds = BOUNDS) -> Iterator[Span]:
        for start in range(stored[-1].stop if stored else 0, len(self.order), bounds.rows):
            stop = min(start + bounds.rows, len(self.order))
            yield Span(FILE, start, stop, start, stop - start, "")

    def read(self, span: Span) -> Iterator[Record]:
        for at in range(span.start, span.stop):
            dataset, number = self.mixture.find(self.order[at])
            values: Mapping[str, Any] = {}
            fault = None
            try:
                values = self.row(self.mixture.example(self.order[at]))
            except (SourceError, SinkError) as error:
                fault = SourceError(error.kind, error.message)
            yield Record(dataset.place(number), at.to_bytes(16), values, fault)

    def read_again(self, span: Span, names: frozenset[str] | None) -> Iterator[Record]:
        return self.read(span)

    def row(self, example: Example) -> Mapping[str, Any]:
        if self.render is None:
            return SampleRow(conversation(example))
        text = self.render(example)
        return {
            "id": example.id,
            "group": example.group,
            "dataset": example.dataset,
            "text": text.text,
            "image_ids": [id for id, _ in text.images],
            "images": [replace(image, given=None) for _, image in text.images],
        }

    def intact(self, span: Span) -> bool:
        return span.stop <= len(self.order)

    def weight(self, span: Span) -> int:
        return 0

    def peek(self, count: int) -> Iterator[Record]:
        stop = min(count, len(self.order))
        return self.read(Span(FILE, 0, stop, 0, stop, ""))
