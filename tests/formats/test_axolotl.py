"""What is read for axolotl besides the rows that are written, and what is written to a file."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import datasets
import orjson
import pytest

from mirage.config.data import SinkConfig, SourceConfig
from mirage.dataset.conversion import convert
from mirage.errors import SinkError
from mirage.formats import recognise, shape
from mirage.formats.instruction import IMAGE, Instruction, turn
from mirage.formats.shape import Reading, among

GOLDEN = Path(__file__).parent / "golden"
PICTURE = GOLDEN / "images" / "1.jpg"
TEXT = {"type": "text", "text": "What?"}
ANSWER = {"role": "assistant", "content": "A cat."}
SHOWN = (turn("user", IMAGE, "What?"), turn("assistant", "A cat."))


def read(*parts: dict[str, Any], **further: Any) -> tuple[Instruction, Reading]:
    reading = Reading(among(GOLDEN, given=False))
    row = {"messages": [{"role": "user", "content": [*parts]}, ANSWER], **further}
    return shape("axolotl").read(row, reading), reading


@pytest.mark.parametrize(
    "part",
    [
        {"path": str(PICTURE)},
        {"url": str(PICTURE)},
        {"image": {"bytes": PICTURE.read_bytes(), "path": None}},
        {"base64": base64.b64encode(PICTURE.read_bytes()).decode()},
        {"base64": f"data:image/jpeg;base64,{base64.b64encode(PICTURE.read_bytes()).decode()}"},
        {"path": str(PICTURE), "url": None, "image": None, "base64": None},
    ],
)
def test_every_key_of_an_image_is_read(part: dict[str, Any]) -> None:
    """One of them; those that a table fills with null count for nothing."""
    sample, reading = read({"type": "image", **part}, TEXT)
    assert not reading.faults
    assert sample.turns == SHOWN
    assert [image.read() for _, image in sample.images] == [PICTURE.read_bytes()]


def test_the_image_of_a_column_fills_the_bare_part() -> None:
    sample, reading = read(TEXT, {"type": "image"}, images=["images/1.jpg"])
    assert not reading.faults
    assert sample.turns[0].parts == ("What?", IMAGE)


@pytest.mark.parametrize("key", ["images", "image"])
def test_without_a_bare_part_it_follows_the_first_question(key: str) -> None:
    """That is where axolotl puts it; the row itself is left as it is."""
    sample, reading = read(TEXT, **{key: ["images/1.jpg"]})
    assert not reading.faults
    assert sample.turns[0].parts == ("What?", IMAGE)
    plain = [{"role": "user", "content": "What?"}, ANSWER]
    row = {"messages": plain, key: ["images/1.jpg"]}
    sample = shape("axolotl").read(row, reading)
    assert sample.turns[0].parts == ("What?", IMAGE)
    assert plain[0]["content"] == "What?"


def test_a_relative_path_is_worth_a_note() -> None:
    _, reading = read({"type": "image", "path": "images/1.jpg"}, TEXT)
    assert [(fault.rule, fault.note) for fault in reading.faults] == [("image-relative", True)]


def test_a_literal_tag_is_refused() -> None:
    sample = Instruction((turn("user", "An <image> tag?"), turn("assistant", "Yes.")))
    with pytest.raises(SinkError, match="would be read as a tag"):
        shape("axolotl").write(sample)


def test_rows_of_text_among_those_with_images_leave_the_format_known() -> None:
    """They could be of any format with messages."""
    rows = [orjson.loads(line) for line in (GOLDEN / "axolotl.jsonl").read_bytes().splitlines()]
    assert recognise(rows) == "axolotl"
    assert recognise(rows[2:]) == "messages"


def test_paths_are_absolute_and_a_file_has_one_key_of_images(tmp_path: Path) -> None:
    """`datasets` gives what stands in the file, whichever folder it is read in."""
    shutil.copytree(GOLDEN / "images", tmp_path / "images")
    shutil.copy(GOLDEN / "axolotl.jsonl", tmp_path)
    source = SourceConfig(path="axolotl.jsonl", format="axolotl")
    done = convert(source, SinkConfig(path="out.jsonl", format="axolotl"), base=tmp_path)
    assert (done.written, done.refused) == (3, 0)
    rows = datasets.load_dataset(
        "json",
        data_files=str(tmp_path / "out.jsonl"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    parts = [part for row in rows for each in row["messages"] for part in each["content"]]
    images = [part for part in parts if part["type"] == "image"]
    assert [part["path"] for part in images] == [
        str(tmp_path / "images" / name) for name in ("1.jpg", "1.jpg", "2.png")
    ]
    assert not {"url", "base64", "image"} & {key for part in images for key in part}
