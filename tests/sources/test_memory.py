"""Rows that a program holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets
import pytest
from PIL import Image as Pillow

from mirage.sources import Bounds, open_rows

from .reading import read


def test_a_list_of_mappings() -> None:
    """Rows keep their order, places and objects, however they are cut."""
    rows = [{"n": n} for n in range(7)]
    _, records = read(open_rows(rows, 2), bounds=Bounds(rows=3))
    assert [record.place for record in records] == [f"2/rows#{n}" for n in range(7)]
    assert all(record.values is row for record, row in zip(records, rows, strict=True))


def test_an_iterator_is_read_once() -> None:
    """Its rows can be read twice all the same."""

    def rows() -> Iterator[dict[str, int]]:
        yield from ({"n": n} for n in range(3))

    source = open_rows(rows())
    (span,) = source.rest(())
    assert list(source.read(span)) == list(source.read(span)) and span.rows == 3


def test_images_stay_objects_and_count_in_the_digest() -> None:
    """Two images of different pixels are different rows, two of the same pixels are not."""
    colours = ["red", "blue", "red"]
    rows = [{"image": Pillow.new("RGB", (4, 3), colour), "b": b"x"} for colour in colours]
    _, records = read(open_rows(rows))
    assert records[0].values["image"] is rows[0]["image"]
    assert records[0].digest == records[2].digest != records[1].digest


@pytest.mark.parametrize("value", [10**30, {1, 2}, (1, 2), float("nan"), "\ud800", {1: 2}])
def test_any_value_has_a_digest(value: Any) -> None:
    """What is no JSON is still a row, and changes are still seen."""
    _, (one, two) = read(open_rows([{"x": value}, {"x": "other"}]))
    assert one.fault is None and one.digest != two.digest and len(one.digest) == 16


def test_a_row_that_is_no_mapping() -> None:
    """It is a fault; its neighbours are read."""
    rows: list[Any] = [{"n": 1}, 7, {"n": 2}]
    _, records = read(open_rows(rows))
    assert [record.fault and record.fault.kind for record in records] == [None, "malformed", None]


@pytest.mark.parametrize("rows", [{"a": 1}, "text", b"text"])
def test_what_are_no_rows(rows: Any) -> None:
    """One mapping, or a text, is most likely a mistake."""
    with pytest.raises(ValueError, match="sequence of mappings"):
        open_rows(rows)


def test_rows_that_changed_or_were_appended() -> None:
    """A list is watched like a file."""
    rows = [{"n": 1}, {"n": 2}]
    source = open_rows(rows)
    stored, _ = read(source)
    rows.append({"n": 3})
    assert source.intact(stored[0].spans[0])
    assert [r.values for r in read(source, stored)[1]] == [{"n": 3}]
    rows[0] = {"n": 9}
    assert not source.intact(stored[0].spans[0])


def test_a_dataset_keeps_the_bytes_of_its_images() -> None:
    """Read by index after a shuffle, with images as they are stored, not decoded."""
    image = {"bytes": b"not even an image", "path": None}
    features = datasets.Features(
        {"n": datasets.Value("int64"), "pages": datasets.Sequence(datasets.Image())}
    )
    data = datasets.Dataset.from_list(
        [{"n": n, "pages": [image]} for n in range(10)], features=features
    ).select([7, 3, 5])
    source = open_rows(data)
    _, records = read(source, bounds=Bounds(rows=2))
    assert [record.values["n"] for record in records] == [7, 3, 5]
    assert records[0].values["pages"] == [image]
    (span,) = source.rest(())
    assert not open_rows(data.select([0, 1, 2])).intact(span)
    assert source.weight(span) > 0


def test_a_data_frame_is_refused() -> None:
    """Iterating one gives the names of its columns."""

    class Frame:
        columns = ("q",)

        def to_dict(self) -> dict[str, list[str]]:
            return {"q": ["x"]}

        def __iter__(self) -> Iterator[str]:
            return iter(self.columns)

    with pytest.raises(ValueError, match="to_dict"):
        open_rows(Frame())  # type: ignore[arg-type]
