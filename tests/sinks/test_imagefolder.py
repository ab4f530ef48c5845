"""Folders of images: `metadata.jsonl`, the images, and what `load_dataset` makes of both."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import datasets
import orjson
import pytest

from mirage import verify
from mirage.errors import RunError
from mirage.record import Image

from .making import JPEG, PNG, drawn, errors, files, image, publish, sink

Row = dict[str, Any]


def name(data: bytes, kind: str = "png") -> str:
    return f"images/{hashlib.sha256(data).hexdigest()}.{kind}"


def metadata(folder: Path) -> list[Row]:
    return [orjson.loads(line) for line in (folder / "metadata.jsonl").read_bytes().splitlines()]


def write(base: Path, *blocks: list[Row], **keys: Any) -> Any:
    return publish(sink(base, "out", format="imagefolder", **keys), base / "work", *blocks)


def load(base: Path) -> Any:
    return datasets.load_dataset(
        "imagefolder",
        data_dir=str(base / "out"),
        split="train",
        cache_dir=str(base / "cache"),
    )


def test_rows_name_their_images(tmp_path: Path) -> None:
    """In the place of their columns, below the keys that `datasets` knows; each image once."""
    rows: list[Row] = [
        {"a": 1, "image": image(PNG), "left": image(JPEG), "b": 2},
        {"images": [image(PNG), image(JPEG)], "more": [image(PNG)]},
        {"image": None, "a": None},
    ]
    write(tmp_path, rows[:1], rows[1:])
    png, jpg = name(PNG), name(JPEG, "jpg")
    assert files(tmp_path / "out").keys() == {"metadata.jsonl", png, jpg}
    assert files(tmp_path / "out")[png] == PNG
    assert metadata(tmp_path / "out") == [
        {"a": 1, "file_name": png, "left_file_name": jpg, "b": 2},
        {"file_names": [png, jpg], "more_file_names": [png]},
        {"file_name": None, "a": None},
    ]


def test_files_are_copied_whatever_they_were_called(tmp_path: Path) -> None:
    """An image that is a file elsewhere becomes one of the folder."""
    (tmp_path / "there.png").write_bytes(PNG)
    there = str(tmp_path / "there.png")
    write(tmp_path, [{"image": Image(there, path=there)}])
    assert metadata(tmp_path / "out") == [{"file_name": name(PNG)}]


def test_what_would_not_be_read_is_refused(tmp_path: Path) -> None:
    """A list of no images, keys that name files, images where no column of them is."""
    refused: list[Row] = [
        {"images": []},
        {"left": []},
        {"image": image(PNG), "file_name": "x"},
        {"image": image(PNG), "a": [{"b": {"my_file_names": []}}]},
        {"a": {"b": image(PNG)}},
        {"image": Image("gone.png", path=str(tmp_path / "gone.png"))},
        {"a": float("inf")},
    ]
    to = sink(tmp_path, "out", format="imagefolder", declared={"left": "images"})
    (report,) = publish(to, tmp_path / "work", [*refused, {"image": image(PNG)}])
    assert (report.rows, [at for at, _ in report.rejected]) == (1, [*range(len(refused))])
    assert errors(report)[0] == "'images' has no images: a list of none is not read"
    assert errors(report)[3] == "'my_file_names' would be taken for the name of a file"
    assert len(files(tmp_path / "out")) == 2


ALIKE = '[null, {"b": 1, "c": []}, {"b": 2.5}, {"c": ["x"], "d": {}}, {"d": {"e": 1}}]'
OTHER = '["x", [1], {"b": "1"}, {"b": true}, {"c": [[]]}, {"d": 1}, {"c": ["x", 1]}]'


def test_a_column_has_one_type(tmp_path: Path) -> None:
    """Over all parts; nulls, floats, further fields and empty lists go with what is there."""
    alike, other = (
        [{"image": image(drawn(1)), "a": value} for value in orjson.loads(values)]
        for values in (ALIKE, OTHER)
    )
    report, late = write(tmp_path, [*alike, *other], other[:1])
    told = errors(report)
    assert [*told] == [*range(len(alike), len(alike) + len(other))]
    assert told[len(alike)] == "column 'a': expected object with b, c, d, got string"
    assert [*errors(late)] == [0]
    assert verify(tmp_path / "out").sound
    assert len(load(tmp_path)) == len(alike)


def test_the_type_that_is_declared_comes_first(tmp_path: Path) -> None:
    rows: list[Row] = [{"image": image(PNG), "n": n} for n in ("one", 1)]
    (report,) = write(tmp_path, rows, declared={"n": "integer"})
    assert errors(report) == {0: "column 'n': expected integer, got string"}


def test_publish_again(tmp_path: Path) -> None:
    """The folder is replaced with all its images; a foreign file in it is left alone."""
    write(tmp_path, [{"image": image(PNG)}])
    to = sink(tmp_path, "out", format="imagefolder")
    publish(to, tmp_path / "again", [{"image": image(JPEG)}])
    assert files(tmp_path / "out").keys() == {"metadata.jsonl", name(JPEG, "jpg")}
    (tmp_path / "out" / "README.md").touch()
    with pytest.raises(RunError, match=r"README\.md"):
        write(tmp_path, [{"image": image(PNG)}])


def test_load_dataset_shows_the_images(tmp_path: Path) -> None:
    """One image a row or none, by name or in lists of several."""
    pictures = [drawn(at) for at in range(3)]
    rows = [{"t": at, "image": data, "left": data} for at, data in enumerate(pictures)]
    write(tmp_path / "one", [*rows, {"t": 3, "image": None}])
    loaded = load(tmp_path / "one")
    assert [image and image.getpixel((0, 0))[0] for image in loaded["image"]] == [0, 1, 2, None]
    assert isinstance(loaded.features["left"], datasets.Image)
    write(tmp_path / "several", [{"t": at, "images": pictures[at:]} for at in range(3)])
    loaded = load(tmp_path / "several")
    shades = [[each.getpixel((0, 0))[0] for each in images] for images in loaded["images"]]
    assert shades == [[0, 1, 2], [1, 2], [2]]
    undecoded = loaded.cast_column("images", datasets.List(datasets.Image(decode=False)))
    paths = [each["path"] for row in undecoded for each in row["images"]]
    assert {Path(path).read_bytes() for path in paths} == {*pictures}
