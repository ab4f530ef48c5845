"""Tar shards: what stands in them, byte by byte, and what their two readers make of them."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import datasets
import orjson
import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage.config.data import SourceConfig
from mirage.errors import RunError
from mirage.record import Image
from mirage.sinks import webdataset as sinks
from mirage.sources import open_source

from .making import JPEG, PNG, drawn, errors, files, image, publish, sink

Row = dict[str, Any]


def archive(path: Path) -> dict[str, bytes]:
    """The members of an archive, in order."""
    with tarfile.open(path) as opened:
        return {info.name: opened.extractfile(info).read() for info in opened}  # type: ignore[union-attr]


def back(folder: Path, path: str) -> list[Row]:
    """The rows that are read again, images as their bytes."""
    source = open_source(
        SourceConfig(path=path), base=folder, number=0, spool=folder / "spool", bare=True
    )
    records = [record for span in source.rest(()) for record in source.read(span)]
    assert [record.fault for record in records] == [None] * len(records)
    return [data(dict(record.values)) for record in records]


def data(value: Any) -> Any:
    if isinstance(value, Image):
        return value.read()
    if isinstance(value, list):
        return [data(item) for item in value]
    return {key: data(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_a_sample_is_its_row_and_its_images(tmp_path: Path) -> None:
    """The row keeps null or an empty list where images stood; the members have one key."""
    rows: list[Row] = [
        {"text": "one", "image": image(PNG)},
        {"text": "two", "images": [image(PNG), image(JPEG)]},
        {"text": "none", "image": None, "images": []},
    ]
    publish(sink(tmp_path, "out.tar"), tmp_path, rows)
    assert archive(tmp_path / "out.tar") == {
        "000000000000.json": b'{"text":"one","image":null}',
        "000000000000.png": PNG,
        "000000000001.json": b'{"text":"two","images":[]}',
        "000000000001.0.png": PNG,
        "000000000001.1.jpg": JPEG,
        "000000000002.json": b'{"text":"none","image":null,"images":[]}',
    }


def test_rows_come_back(tmp_path: Path) -> None:
    """Whatever columns the images were in, one or a list of them, and lists of one."""
    rows: list[Row] = [
        {"image": PNG, "mask": JPEG, "a": 1},
        {"image": None, "images": [PNG], "a": {"b": [None, 1.5]}},
        {"images": [PNG]},
        {"images": [JPEG] * 11 + [PNG]},
        {"image": [JPEG, PNG]},
        {"image": [JPEG], "left": [PNG, JPEG], "right": []},
        {},
    ]
    publish(sink(tmp_path, "out/", format="webdataset"), tmp_path, rows)
    assert back(tmp_path, "out") == rows


NAMES = st.sampled_from(["image", "images", "left", "a_1", "text", "Ünder.score/x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
PICTURES = st.sampled_from([PNG, JPEG, b"GIF89a1"])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_row_comes_back_or_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever its columns are called and hold, images and texts that look like their names."""
    values = JSON | PICTURES | st.lists(PICTURES, min_size=1, max_size=3)
    values |= st.sampled_from(["000000000000.png", "0.png", "png", []])
    rows = data.draw(st.lists(st.dictionaries(NAMES, values), min_size=1, max_size=4))
    (report,) = publish(sink(tmp_path, "out.tar"), tmp_path, rows)
    refused = {index for index, _ in report.rejected}
    assert back(tmp_path, "out.tar") == [row for at, row in enumerate(rows) if at not in refused]
    assert {error.kind for _, error in report.rejected} <= {"column"}


def test_nothing_in_an_archive_depends_on_time_or_owner(tmp_path: Path) -> None:
    """Two of the same rows are equal to the last byte, and whole records long."""
    rows = [{"image": image(PNG), "text": "é" * 300}] * 3
    for name in ("a", "b"):
        publish(sink(tmp_path, f"{name}.tar"), tmp_path / name, rows)
    written = (tmp_path / "a.tar").read_bytes()
    assert written == (tmp_path / "b.tar").read_bytes()
    assert len(written) % tarfile.RECORDSIZE == 0
    with tarfile.open(tmp_path / "a.tar") as opened:
        facts = {(info.mtime, info.uid, info.gid, info.uname, info.mode) for info in opened}
    assert facts == {(0, 0, 0, "", 0o644)}


def test_each_part_is_an_archive(tmp_path: Path) -> None:
    """In a folder; a key counts the archives and the samples in them. In one file all follow."""
    blocks = [[{"a": 1}, {"a": 2}], [{"a": 3}]]
    publish(sink(tmp_path, "out", format="webdataset"), tmp_path / "x", *blocks)
    assert [*files(tmp_path / "out")] == ["shard-000000.tar", "shard-000001.tar"]
    assert [*archive(tmp_path / "out" / "shard-000001.tar")] == ["000001000000.json"]
    publish(sink(tmp_path, "out.tar"), tmp_path / "y", *blocks)
    names = [f"00000000000{at}.json" for at in range(3)]
    assert [*archive(tmp_path / "out.tar")] == names
    assert back(tmp_path, "out") == back(tmp_path, "out.tar") == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_a_large_part_is_several_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further one begins once an archive is large enough; no sample is torn apart."""
    monkeypatch.setattr(sinks, "SHARD", 4000)
    rows = [{"a": at, "image": PNG} for at in range(7)]
    publish(sink(tmp_path, "out", format="webdataset"), tmp_path / "x", rows)
    found = [archive(path) for path in sorted((tmp_path / "out").iterdir())]
    assert [len(members) for members in found] == [4, 4, 4, 2]
    assert back(tmp_path, "out") == rows


def test_an_empty_dataset_is_an_empty_archive(tmp_path: Path) -> None:
    """It can be read, by others too."""
    publish(sink(tmp_path, "out", format="webdataset"), tmp_path / "x")
    assert archive(tmp_path / "out" / "shard-000000.tar") == {}
    assert back(tmp_path, "out") == []


def test_a_key_of_its_own_stays(tmp_path: Path) -> None:
    """Rows that have a `__key__` keep it, long and foreign ones too."""
    keys = ["a", "in/b", "ü" * 200, f"in.d/{'x' * 120}"]
    rows: list[Row] = [{"__key__": key, "image": PNG, "a": 1} for key in keys]
    publish(sink(tmp_path, "out.tar"), tmp_path / "x", rows)
    assert [*archive(tmp_path / "out.tar")][::2] == [f"{key}.json" for key in keys]
    assert back(tmp_path, "out.tar") == rows


def test_what_no_archive_can_hold_is_refused(tmp_path: Path) -> None:
    """With its reason; the rows around it are written."""
    refused: list[Row] = [
        {"a": {"b": image(PNG)}},
        {"a": [image(PNG), "x"]},
        {"Left": image(PNG)},
        {"image": Image("gone.png", path=str(tmp_path / "gone.png"))},
        {"a": b"no image"},
        {"a": float("nan")},
        {"image": Image(b"?", b"no image")},
        {"__key__": "a.b"},
        {"__key__": "__a"},
        {"__key__": "in/../b"},
        {"__key__": ""},
        {"__key__": 7},
        {"__key__": "k"},
    ]
    report = publish(sink(tmp_path, "out.tar"), tmp_path, [{"__key__": "k"}, *refused[::-1]])[0]
    causes = {error.kind for _, error in report.rejected}
    assert (report.rows, len(report.rejected)) == (1, len(refused))
    assert causes == {"image", "column", "type", "key"}
    assert errors(report)[1] == "the sample before it has the key 'k' too"
    assert [*archive(tmp_path / "out.tar")] == ["k.json"]


def test_samples_never_melt_into_one(tmp_path: Path) -> None:
    """Equal keys at the seam of two parts: in archives of their own, or not at all."""
    blocks: list[list[Row]] = [[{"__key__": "k", "a": 1}], [{"__key__": "k", "a": 2}]]
    with pytest.raises(RunError, match="have the key 'k'"):
        publish(sink(tmp_path, "out.tar"), tmp_path / "x", *blocks)
    assert not (tmp_path / "out.tar").exists()
    publish(sink(tmp_path, "out/", format="webdataset"), tmp_path / "y", *blocks)
    assert back(tmp_path, "out") == [row for block in blocks for row in block]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Archives of other names are not ours to replace."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-0.tar").touch()
    with pytest.raises(RunError, match=r"part-0\.tar"):
        publish(sink(tmp_path, "out", format="webdataset"), tmp_path / "x", [{"a": 1}])


@pytest.mark.parametrize("path", ["out.tar", "out/"])
def test_the_library_webdataset_reads_it(tmp_path: Path, path: str) -> None:
    """Keys, rows and images, decoded by the library itself, over all shards."""
    blocks = [[{"t": at, "images": [drawn(at), drawn(at + 1)]}] for at in range(3)]
    publish(sink(tmp_path, path, format="webdataset"), tmp_path / "x", *blocks)
    shards = [str(p) for p in sorted(tmp_path.glob(f"{path.rstrip('/')}/*") or [tmp_path / path])]
    shards = shards or [str(tmp_path / path)]
    read = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil")
    found = list(read)
    assert [sample["json"] for sample in found] == [{"t": at, "images": []} for at in range(3)]
    assert [sample["1.png"].getpixel((0, 0))[0] for sample in found] == [1, 2, 3]
    assert len({sample["__key__"] for sample in found}) == 3


@pytest.mark.parametrize("images", [1, 2])
def test_load_dataset_reads_it(tmp_path: Path, images: int) -> None:
    """Columns of images for the members, the row as `json`; images to the byte."""
    rows = [{"t": at, "images": [drawn(at + n) for n in range(images)]} for at in range(6)]
    publish(sink(tmp_path, "out/", format="webdataset"), tmp_path / "x", rows[:3], rows[3:])
    loaded = datasets.load_dataset(
        "webdataset",
        data_files=str(tmp_path / "out" / "*.tar"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    names = ["png"] if images == 1 else ["0.png", "1.png"]
    for name in names:
        assert isinstance(loaded.features[name], datasets.Image)
        loaded = loaded.cast_column(name, datasets.Image(decode=False))
    assert [[row[name]["bytes"] for name in names] for row in loaded] == [
        row["images"] for row in rows
    ]
    assert [row["json"]["t"] for row in loaded] == [*range(6)]
    assert orjson.loads(archive(tmp_path / "out" / "shard-000000.tar")["000000000000.json"]) == {
        "t": 0,
        "images": [],
    }
