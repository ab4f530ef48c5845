"""Folders of images, with metadata and without."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .reading import opened, read, rows


def folder(root: Path, *names: str) -> Path:
    for name in names:
        path = root / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"image {name}".encode())
    return root / "pictures"


def metadata(place: Path, *values: Any) -> None:
    place.write_bytes(b"".join(orjson.dumps(value) + b"\n" for value in values))


def test_metadata_names_the_images(tmp_path: Path) -> None:
    """`image` is the absolute path, and the columns stay as they are."""
    place = folder(tmp_path, "a.jpg", "sub/b.jpg")
    metadata(place / "metadata.jsonl", {"file_name": "a.jpg", "x": 1}, {"file_name": "sub/b.jpg"})
    assert rows(tmp_path, "pictures") == [
        {"file_name": "a.jpg", "x": 1, "image": str(place / "a.jpg")},
        {"file_name": "sub/b.jpg", "image": str(place / "sub" / "b.jpg")},
    ]


def test_further_columns_of_images(tmp_path: Path) -> None:
    """The layout of ImageFolder: `left_file_name`, and lists in `file_names`; null is no image."""
    place = folder(tmp_path, "a.jpg", "b.jpg")
    metadata(
        place / "metadata.jsonl",
        {"left_file_name": "a.jpg", "file_names": ["a.jpg", "b.jpg"], "file_name": None},
    )
    (row,) = rows(tmp_path, "pictures")
    assert row["left"] == str(place / "a.jpg") and row["image"] is None
    assert row["images"] == [str(place / "a.jpg"), str(place / "b.jpg")]


def test_metadata_as_csv_and_parquet(tmp_path: Path) -> None:
    """The same layout in other formats."""
    place = folder(tmp_path, "a.jpg")
    (place / "metadata.csv").write_text("file_name,x\na.jpg,1\n")
    assert rows(tmp_path, "pictures")[0]["image"] == str(place / "a.jpg")
    (place / "metadata.csv").unlink()
    pq.write_table(pa.table({"file_name": ["a.jpg"]}), place / "metadata.parquet")
    assert rows(tmp_path, "pictures")[0]["image"] == str(place / "a.jpg")


@pytest.mark.parametrize(
    "name", ["../secret", "sub/../../secret", "/etc/passwd", "..\\secret", "C:\\x", "..", "a\0b"]
)
def test_a_path_out_of_the_folder_is_a_fault(tmp_path: Path, name: str) -> None:
    """Metadata that was made by somebody else cannot name files elsewhere."""
    place = folder(tmp_path, "a.jpg")
    metadata(place / "metadata.jsonl", {"file_name": name}, {"file_name": "a.jpg"})
    _, records = read(opened(tmp_path, "pictures"))
    assert records[0].fault is not None and records[0].fault.kind == "outside"
    assert "image" not in records[0].values and records[1].fault is None


def test_a_name_that_is_none(tmp_path: Path) -> None:
    """A number is no file name."""
    place = folder(tmp_path, "a.jpg")
    metadata(place / "metadata.jsonl", {"file_name": 7})
    _, records = read(opened(tmp_path, "pictures"))
    assert records[0].fault is not None and records[0].fault.kind == "malformed"


def test_images_without_metadata(tmp_path: Path) -> None:
    """One row per image, numbers sorted as numbers; other files are passed over."""
    place = folder(tmp_path, "10.png", "2.PNG", "sub/1.jpg", "readme.txt", ".hidden.png")
    _, records = read(opened(tmp_path, "pictures"))
    assert [record.values["file_name"] for record in records] == ["2.PNG", "10.png", "sub/1.jpg"]
    assert records[0].values["image"] == str(place / "2.PNG")
    assert records[2].place == "0/sub/1.jpg#0"


def test_a_replaced_image_is_noticed_and_a_copied_folder_is_not(tmp_path: Path) -> None:
    """What counts is the content of the file, not its time."""
    place = folder(tmp_path, "a.png", "b.png")
    source = opened(tmp_path, "pictures")
    spans = list(source.rest(()))
    shutil.copytree(place, tmp_path / "copy")
    assert all(opened(tmp_path, "copy").intact(span) for span in spans)
    (place / "b.png").write_bytes(b"another")
    assert [source.intact(span) for span in spans] == [True, False]


def test_many_images_share_a_block(tmp_path: Path) -> None:
    """A span per image, but one block."""
    folder(tmp_path, *(f"{n}.png" for n in range(40)))
    found, records = read(opened(tmp_path, "pictures"))
    assert len(found) == 1 and found[0].rows == len(records) == 40
