"""Stores that we write: what others make of them, and what is refused."""

from __future__ import annotations

import base64
import errno
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage.errors import MediaError, RunError, SinkError
from mirage.store import StoreWriter, open_store

from .making import images, texts

OF = images(300)
NAMES = ("x.json", "x.parquet", "x")
SMALL = {"part": 30_000, "group": 3_000}


def written(path: Path, of: dict[str, bytes], **limits: int) -> Path:
    with StoreWriter(path, **limits) as store:
        for key, data in of.items():
            store.add(key, data, f"row {key}")
    return path


@pytest.mark.parametrize("name", NAMES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(of=st.dictionaries(st.text(), st.binary(min_size=1)))
def test_what_is_written_is_read(tmp_path: Path, name: str, of: dict[str, bytes]) -> None:
    """Any keys and any bytes, in their order."""
    path = written(tmp_path / name, of)
    with open_store(path) as store:
        assert {entry.key: store.read(entry.key) for entry in store.entries()} == of
        assert list(store.keys()) == list(of)
        assert len(store) == len(of)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_json_is_what_json_dumps_writes(tmp_path: Path) -> None:
    of = {**OF, 'ké"y\n': b"x"}
    assert written(tmp_path / "x.json", of).read_text() == json.dumps(texts(of))


@pytest.mark.parametrize("name", ["x.parquet", "x"])
def test_pandas_finds_keys_in_the_index(tmp_path: Path, name: str) -> None:
    """In one file, and in a folder of parts."""
    for limits in ({}, SMALL):
        frame = pd.read_parquet(written(tmp_path / name, OF, **limits))
        assert list(frame.columns) == ["base64"]
        assert list(frame.index) == list(OF)
        text = frame.loc["TOY_IMG_000007"]["base64"]
        assert base64.urlsafe_b64decode(text) == OF["TOY_IMG_000007"]


def test_dask_finds_keys_in_the_index(tmp_path: Path) -> None:
    dask = pytest.importorskip("dask.dataframe")
    for name, limits in (("x.parquet", {}), ("y", SMALL)):
        frame = dask.read_parquet(written(tmp_path / name, OF, **limits)).compute()
        assert list(frame.columns) == ["base64"]
        assert list(frame.index) == list(OF)


def test_one_part_is_a_file_and_several_are_a_folder_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    assert written(path, OF).is_file()
    assert written(path, OF, **SMALL).is_dir()
    assert all(each.stat().st_size < 30_000 for each in path.iterdir())
    assert written(path, OF).is_file()
    assert [each.name for each in tmp_path.iterdir()] == ["x.parquet"]


def test_row_groups_are_small(tmp_path: Path) -> None:
    """So that whoever reads them whole reads little."""
    footer = pq.read_metadata(written(tmp_path / "x.parquet", OF, group=3_000))
    sizes = [footer.row_group(n).total_byte_size for n in range(footer.num_row_groups)]
    assert len(sizes) > 10
    assert max(sizes) < 4_500


def test_a_key_that_was_there_is_refused_with_both_places(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "x.json") as store:
        store.add("a", b"A", "row 1")
        with pytest.raises(SinkError, match=r"'a' is in the store already; another image .* row 1"):
            store.add("a", b"B", "row 2")
        store.add("b", b"B", "row 3")
    assert (tmp_path / "x.json").read_text() == '{"a": "QQ==", "b": "Qg=="}'


def test_the_same_image_may_come_again(tmp_path: Path) -> None:
    """Where whoever writes says so; another one under its key may not."""
    with StoreWriter(tmp_path / "x.json") as store:
        assert store.add("a", b"A", again=True)
        assert not store.add("a", b"A", again=True)
        with pytest.raises(SinkError):
            store.add("a", b"B", again=True)
    assert (tmp_path / "x.json").read_text() == '{"a": "QQ=="}'


def test_a_key_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "x") as store, pytest.raises(SinkError) as caught:
        store.add("\ud800", b"A")
    assert caught.value.kind == "key"


def test_an_image_that_no_part_can_hold_is_refused(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "x.parquet", part=100) as store:
        with pytest.raises(SinkError) as caught:
            store.add("a", bytes(100))
        store.add("b", b"B")
    assert caught.value.kind == "size"
    with open_store(tmp_path / "x.parquet") as read:
        assert list(read.keys()) == ["b"]


@pytest.mark.parametrize("name", NAMES)
def test_an_error_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, {"a": b"A"})
    with pytest.raises(ZeroDivisionError), StoreWriter(path, **SMALL) as store:
        for key, data in OF.items():
            store.add(key, data)
        raise ZeroDivisionError
    with open_store(path) as read:
        assert list(read.keys()) == ["a"]
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("limits", [{}, SMALL], ids=["one part", "many"])
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    """Although another thread meets it."""

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mirage.store.writer.write", full)
    with pytest.raises(OSError, match="No space left"):
        written(tmp_path / "x.parquet", OF, **limits)
    assert list(tmp_path.iterdir()) == []


def test_nothing_else_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("folder", "file"):
        with pytest.raises(RunError):
            StoreWriter(tmp_path / name)
    with pytest.raises(ValueError, match=r"end it in \.json or \.parquet"):
        StoreWriter(tmp_path / "x.txt")


@pytest.mark.parametrize("name", NAMES)
def test_threads_share_a_store(tmp_path: Path, name: str) -> None:
    keys = list(OF)
    random.Random(3).shuffle(keys)
    path = written(tmp_path / name, {key: OF[key] for key in keys}, **SMALL)
    with open_store(path) as store, ThreadPoolExecutor(8) as pool:
        assert list(pool.map(store.read, OF)) == list(OF.values())


def test_an_image_is_read_when_it_is_wanted(tmp_path: Path) -> None:
    with open_store(written(tmp_path / "x.parquet", OF)) as store:
        image, missing = store.image("TOY_IMG_000005"), store.image("nobody")
        assert image.given == "TOY_IMG_000005"
        assert image.path == str(tmp_path / "x.parquet")
        assert image.read() == OF["TOY_IMG_000005"]
        with pytest.raises(MediaError) as caught:
            missing.read()
        assert caught.value.kind == "missing"
        with pytest.raises(KeyError):
            store.read("nobody")
