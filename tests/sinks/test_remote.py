"""A dataset in a store: the same bytes as on disk, sent when it is complete, and ours alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from places.stores import names, store

from mirage.errors import RunError

from .making import JPEG, image, sink, write

__all__ = ["store"]

ROWS = [[{"n": 1, "t": "a"}, {"n": 2, "t": "b"}], [{"n": 3, "t": "c"}]]
FILES = ["out.jsonl", "out.json", "out.parquet"]
FOLDERS = [("jsonl", "out/"), ("parquet", "out/"), ("hf", "out"), ("webdataset", "out/")]


def contents(store: Any, folder: str) -> dict[str, bytes]:
    return {name: store.cat_file(f"{folder}/{name}") for name in names(store, folder)}


def publish(tmp_path: Path, path: str, *blocks: Any, **keys: Any) -> None:
    to = sink(tmp_path, path, **keys)
    to.check()
    parts, _ = write(to, tmp_path, *blocks)
    to.publish(parts, to.columns(parts))


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_the_same_as_on_disk(name: str, store: Any, tmp_path: Path) -> None:
    """And it may be replaced by the next one."""
    for _ in range(2):
        publish(tmp_path, f"memory://bucket/{name}", *ROWS)
        publish(tmp_path, name, *ROWS)
        assert contents(store, "/bucket") == {name: (tmp_path / name).read_bytes()}
    assert not (tmp_path / "upload").exists()


@pytest.mark.parametrize(("format", "name"), FOLDERS)
def test_a_folder_has_a_mark_of_its_files(
    format: str, name: str, store: Any, tmp_path: Path
) -> None:
    """It stands there when all files do; what an earlier dataset had more is taken away."""
    for blocks in (ROWS, ROWS[:1]):
        publish(tmp_path, f"memory://bucket/{name}", *blocks, format=format)
        publish(tmp_path, name, *blocks, format=format)
        there = contents(store, "/bucket/out")
        mark = orjson.loads(there.pop(".mirage.json"))["files"]
        home = tmp_path / "out"
        here = {path.relative_to(home).as_posix(): path for path in home.rglob("*")}
        assert {n for n, path in here.items() if path.is_file()} == there.keys() == mark.keys()
        assert {n: len(data) for n, data in there.items()} == mark


def test_images_come_before_the_rows_that_name_them(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once each, by the hash of their content."""
    sent: list[str] = []
    put = type(store).pipe_file

    def noted(self: Any, name: str, data: bytes) -> None:
        sent.append(name)
        put(self, name, data)

    monkeypatch.setattr(type(store), "pipe_file", noted)
    for _ in range(2):
        publish(tmp_path, "memory://bucket/o.jsonl", [{"i": image(JPEG)}, {"i": image(JPEG)}])
    (row, _) = map(orjson.loads, store.cat_file("/bucket/o.jsonl").splitlines())
    assert store.cat_file(f"/bucket/{row['i']}") == JPEG
    last = "bucket/o.jsonl"
    assert [name.strip("/") for name in sent] == [f"bucket/{row['i']}", last, last]


@pytest.mark.parametrize(
    ("there", "path", "said"),
    [
        ("out/notes.txt", "out/", "memory://bucket/out/notes.txt is not part of a dataset"),
        ("out.jsonl/a.txt", "out.jsonl", "memory://bucket/out.jsonl is a folder"),
        ("out", "out/", "memory://bucket/out is a file"),
    ],
)
def test_what_is_not_ours_is_left_alone(
    there: str, path: str, said: str, store: Any, tmp_path: Path
) -> None:
    """As on disk, and told by its address."""
    store.pipe_file(f"/bucket/{there}", b"mine")
    to = sink(tmp_path, f"memory://bucket/{path}", format="jsonl")
    with pytest.raises(RunError, match=said):
        to.check()
    parts, _ = write(to, tmp_path, *ROWS)
    with pytest.raises(RunError, match=said):
        to.publish(parts, None)
    assert contents(store, "/bucket") == {there: b"mine"}


def test_a_transfer_that_breaks_off(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder has no mark until a repetition has sent all of it."""
    put = type(store).pipe_file

    def torn(self: Any, name: str, data: bytes) -> None:
        if name.endswith("part-00001.jsonl"):
            raise OSError("the line is cut")
        put(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "pipe_file", torn)
        with pytest.raises(OSError, match="the line is cut"):
            publish(tmp_path, "memory://bucket/out/", *ROWS, format="jsonl")
    assert ".mirage.json" not in names(store, "/bucket/out")
    publish(tmp_path, "memory://bucket/out/", *ROWS, format="jsonl")
    assert names(store, "/bucket/out") == [".mirage.json", "part-00000.jsonl", "part-00001.jsonl"]


@pytest.mark.parametrize("name", ["t.jsonl", "t/"])
def test_absolute_names_are_addresses(name: str, store: Any, tmp_path: Path) -> None:
    """Of a format whose loader looks for images where it was started."""
    turns = [{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": "!"}]
    row = {"messages": turns, "images": [image(JPEG)]}
    keys = {"format": "ms-swift", "container": "jsonl"}
    publish(tmp_path, f"memory://bucket/{name}", [row], **keys)
    there = contents(store, "/bucket")
    (rows,) = (data for file, data in there.items() if file.endswith(".jsonl"))
    (address,) = orjson.loads(rows)["images"]
    assert there[address.removeprefix("memory://bucket/")] == JPEG


def test_a_description_is_added_to(store: Any, tmp_path: Path) -> None:
    """LLaMA-Factory's, which other datasets in the folder share."""
    other = {"other": {"file_name": "other.json", "formatting": "alpaca"}}
    store.pipe_file("/bucket/dataset_info.json", orjson.dumps(other))
    row = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}
    publish(tmp_path, "memory://bucket/t.json", [row], format="sharegpt")
    info = orjson.loads(store.cat_file("/bucket/dataset_info.json"))
    assert info.keys() == {"other", "t"}


@pytest.mark.parametrize(
    ("path", "keys", "said"),
    [
        ("https://host/out.jsonl", {}, "is read, not written"),
        ("hf://owner/name", {"format": "parquet"}, "is read, not written"),
        ("memory://b/out/", {"format": "mimic-it"}, "write it here"),
    ],
)
def test_what_is_not_written_to_a_store(
    path: str, keys: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        sink(tmp_path, path, **keys)
