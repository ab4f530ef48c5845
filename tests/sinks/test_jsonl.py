"""JSON lines hold every JSON value as it is, images by reference, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage.errors import RunError
from mirage.record import Image

from .making import JPEG, PNG, Row, errors, files, image, publish, sink, write

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
scalars: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | text
)
scalars |= st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(text, v, max_size=3), max_leaves=8
)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.dictionaries(text, values, max_size=4), max_size=4), max_size=3))
def test_round_trip(tmp_path: Path, blocks: list[list[Row]]) -> None:
    """Whatever is JSON comes back as it was, in order, over all parts."""
    reports = publish(sink(tmp_path, "out.jsonl"), tmp_path, *blocks)
    assert [report.rows for report in reports] == [len(block) for block in blocks]
    read = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().split(b"\n")[:-1]]
    assert read == [row for block in blocks for row in block]


def test_images(tmp_path: Path) -> None:
    """An image stands as the source's string, or as the path of a file with its very bytes."""
    rows: list[Row] = [
        {"a": Image(given="x/1.jpg", path="/base/x/1.jpg"), "b": None},
        {"a": image(), "b": (image(JPEG), image(given="data:image/png;base64,AA"))},
        {"a": {"deep": [{"image": image(JPEG)}]}, "b": []},
    ]
    publish(sink(tmp_path, "out/train.jsonl"), tmp_path, rows[:2], rows[2:])
    first, second, third = lines(tmp_path / "out" / "train.jsonl")
    assert first == {"a": "x/1.jpg", "b": None}
    assert second["b"][1] == "data:image/png;base64,AA"
    assert second["b"][0] == third["a"]["deep"][0]["image"]
    stored = files(tmp_path / "out")
    assert stored[second["a"]] == PNG and stored[second["b"][0]] == JPEG
    assert len(stored) == 3


BAD: dict[str, Any] = {
    "bytes": b"x",
    "nan": float("nan"),
    "infinity": {"deep": [1, (2, float("-inf"))]},
    "huge": 2**64,
    "small": -(2**63) - 1,
    "key": {1: 2},
    "surrogate": "\ud800",
    "set": {1},
    "object": object(),
    "deep": json.loads("[" * 400 + "]" * 400),
    "gone": Image(given=object(), path="/no/such/file"),
}


@pytest.mark.parametrize("name", BAD)
def test_misfits(tmp_path: Path, name: str) -> None:
    """A value that JSON does not have costs its own row, and no other."""
    rows: list[Row] = [{"a": 1}, {"a": image(), "b": BAD[name]}, {"a": None}]
    (report,) = publish(sink(tmp_path, "out.jsonl"), tmp_path, rows)
    assert report.rows == 2 and list(errors(report)) == [1] and errors(report)[1]
    assert lines(tmp_path / "out.jsonl") == [{"a": 1}, {"a": None}]
    assert not (tmp_path / "images").exists(), "a rejected row leaves no image"


def test_other_mappings(tmp_path: Path) -> None:
    """A mapping of any class is an object, and does not hide a NaN."""
    values = (None, float("nan"))
    rows = [{"a": MappingProxyType({"b": value})} for value in values]
    (report,) = publish(sink(tmp_path, "out.jsonl"), tmp_path, rows)
    assert lines(tmp_path / "out.jsonl") == [{"a": {"b": None}}]
    assert list(errors(report)) == [1]


def test_large_part(tmp_path: Path) -> None:
    """Many rows and a huge one pass through in order."""
    rows: list[Row] = [*({"i": i} for i in range(5000)), {"text": "é" * 3_000_000}]
    (report,) = publish(sink(tmp_path, "out.jsonl"), tmp_path, rows)
    assert report.rows == 5001
    assert lines(tmp_path / "out.jsonl") == rows


def test_source_that_breaks_off(tmp_path: Path) -> None:
    """Rows that end in an error leave neither part nor images, and an older part as it was."""

    def torn() -> Iterator[Row]:
        yield {"a": image()}
        raise KeyError

    out = sink(tmp_path, "out.jsonl")
    parts, _ = write(out, tmp_path, [{"a": 1}])
    before = files(tmp_path)
    with pytest.raises(KeyError):
        out.write(parts[0], torn())
    assert files(tmp_path) == before


def test_publish_replaces_the_file(tmp_path: Path) -> None:
    """A file of that name gives way; other files and the user's own images stay."""
    (tmp_path / "out.jsonl").write_text("old")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.png").write_text("mine")
    for _ in range(2):
        publish(sink(tmp_path, "out.jsonl"), tmp_path, [{"a": image()}], [{"a": 2}])
    assert len(lines(tmp_path / "out.jsonl")) == 2
    assert (tmp_path / "images" / "mine.png").read_text() == "mine"
    assert len(list((tmp_path / "images").iterdir())) == 2


def test_publish_to_a_link(tmp_path: Path) -> None:
    """A symbolic link is followed: the dataset appears where it leads."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "out.jsonl").symlink_to("disk/real.jsonl")
    publish(sink(tmp_path, "out.jsonl"), tmp_path, [{"a": 1}])
    assert (tmp_path / "out.jsonl").is_symlink()
    assert lines(tmp_path / "disk" / "real.jsonl") == [{"a": 1}]


def test_no_rows(tmp_path: Path) -> None:
    """A dataset without rows, or without parts, is an empty file."""
    publish(sink(tmp_path, "out.jsonl"), tmp_path, [], [])
    publish(sink(tmp_path, "none.jsonl"), tmp_path)
    publish(sink(tmp_path, "folder", format="jsonl"), tmp_path)
    names = ["out.jsonl", "none.jsonl", "folder/part-00000.jsonl"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b""] * 3


def test_folder(tmp_path: Path) -> None:
    """A folder has one file for each part, and its images; a second run takes its place whole."""
    out = sink(tmp_path, "out", format="jsonl")
    publish(out, tmp_path, [{"a": 1}], [{"a": image()}], [{"a": 3}])
    first = files(tmp_path / "out")
    assert sorted(first)[1:] == [f"part-0000{at}.jsonl" for at in range(3)]
    assert first[json.loads(first["part-00001.jsonl"])["a"]] == PNG
    publish(out, tmp_path / "again", [{"a": 4}])
    assert files(tmp_path / "out") == {"part-00000.jsonl": b'{"a":4}\n'}


@pytest.mark.parametrize("foreign", ["notes.txt", "images/cat.png", "sub/part-00000.jsonl", ".x"])
def test_foreign_folder(tmp_path: Path, foreign: str) -> None:
    """A folder with anything of the user's in it is left alone, and the error names the file."""
    mine = tmp_path / "out" / foreign
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("mine")
    before = files(tmp_path / "out")
    with pytest.raises(RunError, match=str(mine.parent if "sub" in foreign else mine)):
        publish(sink(tmp_path, "out", format="jsonl"), tmp_path, [{"a": 1}])
    assert files(tmp_path / "out") == before


def test_shape_in_the_way(tmp_path: Path) -> None:
    """A file where a folder should be, or the other way round, is an error."""
    (tmp_path / "out").write_text("mine")
    (tmp_path / "out.jsonl").mkdir()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "images").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        publish(sink(tmp_path, "out", format="jsonl"), tmp_path, [{"a": 1}])
    with pytest.raises(RunError, match="is a folder"):
        publish(sink(tmp_path, "out.jsonl"), tmp_path, [{"a": 1}])
    with pytest.raises(RunError, match="images belong"):
        publish(sink(tmp_path, "deep/x.jsonl"), tmp_path, [{"a": image()}])


def test_same_bytes_each_time(tmp_path: Path) -> None:
    """Two runs over the same rows give the same files."""
    rows = [{"a": i, "b": image()} for i in range(10)]
    for name in ("one", "two"):
        publish(sink(tmp_path, f"{name}/x.jsonl"), tmp_path / name / "work", rows[:5], rows[5:])
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert one == two and len(one) > 2


def test_images_that_nobody_declared_are_written_to_files_too(tmp_path: Path) -> None:
    """Bytes and structs in undeclared values become files with the same bytes; text stays text."""
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
    row = {"modalities": [{"bytes": png, "path": "a.png"}, png], "text": "a.png"}
    part = tmp_path / "part.jsonl"
    report = sink(tmp_path, "out.jsonl").write(part, [row])
    written = json.loads(part.read_bytes())
    assert report.rows == 1 and written["text"] == "a.png"
    assert [(tmp_path / name).read_bytes() for name in written["modalities"]] == [png, png]
