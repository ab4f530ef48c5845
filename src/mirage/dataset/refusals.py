"""What a conversion leaves out: one JSON object a line, with its place and the reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct
from msgspec.json import encode

from mirage import atomic
from mirage.errors import RecordError
from mirage.places import Place
from mirage.record import Failed


class Refusals(Struct, frozen=True):
    """The list, as it is written, and how often each cause stands in it."""

    file: BinaryIO
    causes: Counter[str]

    def add(self, place: str, error: RecordError) -> None:
        self.causes[f"{error.boundary}/{error.kind}"] += 1
        failed = Failed(place, error.boundary, error.kind, error.message)
        self.file.write(encode(failed) + b"\n")


def beside(target: Place) -> str:
    """The name of the list that belongs to a dataset, in the folder of the dataset."""
    return f"{target.name}.failed.jsonl"


def settled(listed: Path, causes: Counter[str], target: Path) -> Path | None:
    """Put a list beside the dataset; where it is empty, take away that of an earlier conversion."""
    place = target.with_name(beside(target))
    if not causes:
        place.unlink(missing_ok=True)
        return None
    atomic.settle(listed, place)
    return place
