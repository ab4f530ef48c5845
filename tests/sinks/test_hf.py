"""The folder is what `datasets.load_from_disk` reads, images included."""

from __future__ import annotations

import io
import json
from pathlib import Path

import datasets
import pytest
from PIL import Image as Pillow

from mirage.errors import RunError

from .making import Row, errors, files, image, publish, sink


def picture() -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (6, 4), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_load_from_disk(tmp_path: Path) -> None:
    """Rows, types and images come back, over parts of different types."""
    png = picture()
    blocks: list[list[Row]] = [
        [{"t": "a", "n": None, "i": image(png), "m": [{"role": "u", "is": [image(png)]}]}],
        [{"t": "b", "n": 1.5, "i": None, "m": []}, {"t": 3, "n": 1, "i": None, "m": None}],
    ]
    reports = publish(sink(tmp_path, "out", format="hf"), tmp_path, *blocks)
    assert [report.rows for report in reports] == [1, 1]
    assert errors(reports[1]) == {1: "column 't': expected string, got integer"}
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert isinstance(loaded, datasets.Dataset)
    assert loaded["t"][:] == ["a", "b"] and loaded["n"][:] == [None, 1.5]
    assert loaded[0]["i"].getpixel((0, 0)) == (255, 0, 0)
    assert loaded[0]["m"][0]["is"][0].size == (6, 4)
    raw = loaded.cast_column("i", datasets.Image(decode=False))
    assert raw[0]["i"] == {"bytes": png, "path": None}


def test_same_as_save_to_disk(tmp_path: Path) -> None:
    """The description of the features is the one that `datasets` itself writes."""
    block = [{"t": "a", "n": 1, "x": 0.5, "i": image(picture()), "l": ["a"], "o": {"k": True}}]
    publish(sink(tmp_path, "out", format="hf"), tmp_path, block)
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    loaded.save_to_disk(str(tmp_path / "theirs"))
    ours, theirs = (
        json.loads((tmp_path / name / "dataset_info.json").read_text())
        for name in ("out", "theirs")
    )
    assert ours == theirs


def test_no_rows(tmp_path: Path) -> None:
    """A dataset without rows, or without parts, still has its columns."""
    declared = {"a": "string", "i": "image"}
    empty: list[Row] = []
    for number, blocks in enumerate([[], [empty]]):
        out = sink(tmp_path, f"out{number}", format="hf", declared=declared)
        publish(out, tmp_path / str(number), *blocks)
        loaded = datasets.load_from_disk(str(tmp_path / f"out{number}"))
        assert len(loaded) == 0
        assert isinstance(loaded.features["i"], datasets.Image)


def test_fingerprint(tmp_path: Path) -> None:
    """The same rows give the same files; other rows another fingerprint, so no stale cache."""
    states = []
    for name, text in (("one", "a"), ("two", "a"), ("three", "b")):
        publish(sink(tmp_path, name, format="hf"), tmp_path / "work" / name, [{"t": text}])
        states.append(json.loads((tmp_path / name / "state.json").read_text())["_fingerprint"])
    assert states[0] == states[1] != states[2]
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_publish_again(tmp_path: Path) -> None:
    """A folder is replaced together with the caches that `datasets` left in it; not the user's."""
    out = sink(tmp_path, "out", format="hf")
    publish(out, tmp_path, [{"a": 1}], [{"a": 2}])
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    loaded.map(lambda row: {"a": row["a"] + 1}, load_from_cache_file=False)
    assert any(name.startswith("cache-") for name in files(tmp_path / "out"))
    publish(out, tmp_path / "again", [{"a": 5}])
    assert sorted(files(tmp_path / "out")) == [
        "data-00000-of-00001.arrow",
        "dataset_info.json",
        "state.json",
    ]
    (tmp_path / "out" / "README.md").touch()
    with pytest.raises(RunError, match=r"README\.md"):
        publish(out, tmp_path / "again", [{"a": 5}])
