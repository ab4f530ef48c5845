"""WebDataset shards: samples out of members, in spans, whatever is torn, doubled or missing."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.errors import RunError, SourceChangedError
from mirage.record import Record
from mirage.sources import Bounds, blocks

from .reading import opened, read, rows

Files = Iterable[tuple[str, bytes]]


def tar(files: Files, kind: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive. Every other member has a time of half a second, which takes a PAX header."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for number, (name, data) in enumerate(files):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), number % 2 / 2
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def sample(key: str, text: str = "") -> Files:
    json = orjson.dumps({"text": text or f"of {key}"})
    return [(f"{key}.json", json), (f"{key}.jpg", key.encode() * 300)]


def several(count: int) -> Files:
    return [file for number in range(count) for file in sample(f"{number:04}")]


def kinds(records: Iterable[Record]) -> list[str]:
    return [record.fault.kind if record.fault else "" for record in records]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.zst"])
def test_samples(tmp_path: Path, name: str) -> None:
    """A sample has its key and a value for each member: JSON parsed, texts as text, the rest as
    bytes.
    """
    files = [
        ("./in/7.json", b'{"a": [1, null]}'),
        ("./in/7.TXT", "text é\n".encode()),
        ("./in/7.cls", b"3"),
        ("./in/7.seg.png", b"\x89PNG"),
        ("./in/8.jpg", b"\xff\xd8"),
        ("./in/8.meta.json", b"[]"),
    ]
    data = tar(files)
    if name != "a.tar":
        data = zstandard.compress(data) if name.endswith("zst") else gzip.compress(data)
    (tmp_path / name).write_bytes(data)
    seven = {"__key__": "in/7", "json": {"a": [1, None]}, "txt": "text é\n", "cls": "3"}
    assert rows(tmp_path, name) == [
        {**seven, "seg.png": b"\x89PNG"},
        {"__key__": "in/8", "jpg": b"\xff\xd8", "meta.json": []},
    ]


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names(tmp_path: Path, kind: int) -> None:
    """Every way to write a long name is read."""
    key = "/".join(["folder" * 10] * 3 + ["ü" * 20 if kind != tarfile.USTAR_FORMAT else "u"])
    (tmp_path / "a.tar").write_bytes(tar([*sample("a"), *sample(key), *sample("z")], kind))
    assert [row["__key__"] for row in rows(tmp_path, "a.tar")] == ["a", key, "z"]


def test_what_belongs_to_no_sample(tmp_path: Path) -> None:
    """Folders, links, hidden files and names without a dot are passed over."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, type in [("in", tarfile.DIRTYPE), ("in/1.jpg", tarfile.SYMTYPE)]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = type, "/etc/passwd"
            archive.addfile(info)
        for name in ["README", "in/.hidden.jpg", "._1.jpg", "a.b/plain", "in/1.txt"]:
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    assert rows(tmp_path, "a.tar") == [{"__key__": "in/1", "txt": "abc"}]


def test_a_sample_without_json(tmp_path: Path) -> None:
    """A sample has the members that it has; the others are missing from its row."""
    (tmp_path / "a.tar").write_bytes(tar([*sample("1"), ("2.jpg", b"x"), *sample("3")]))
    assert [sorted(row) for row in rows(tmp_path, "a.tar")] == [
        ["__key__", "jpg", "json"],
        ["__key__", "jpg"],
        ["__key__", "jpg", "json"],
    ]


@pytest.mark.parametrize("rows_in_block", [1, 7, 100, 1000])
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_spans(tmp_path: Path, name: str, rows_in_block: int) -> None:
    """However it is cut, every sample is read once, in order; a block reads only its own."""
    data = tar(several(100))
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    source = opened(tmp_path, name)
    found, records = read(source, bounds=Bounds(rows=rows_in_block))
    assert len(found) == -(-100 // rows_in_block)
    assert [record.values["__key__"] for record in records] == [f"{n:04}" for n in range(100)]
    assert [record.place for record in records][:2] == [f"0/{name}#0", f"0/{name}#1"]
    last = found[-1].spans[-1]
    assert [record.values["__key__"] for record in source.read(last)][-1] == "0099"
    assert not list(blocks(source, found))


def test_bounds_in_bytes(tmp_path: Path) -> None:
    """Large samples make small blocks; one that is larger than a block is a block."""
    (tmp_path / "a.tar").write_bytes(tar([(f"{n}.bin", bytes(50_000)) for n in range(10)]))
    found, records = read(opened(tmp_path, "a.tar"), bounds=Bounds(size=120_000))
    assert [block.rows for block in found] == [2] * 5
    found, records = read(opened(tmp_path, "a.tar"), bounds=Bounds(size=10))
    assert ([block.rows for block in found], len(records)) == ([1] * 10, 10)


def test_a_survey_reads_headers_only(tmp_path: Path) -> None:
    """Content that nobody asked for is passed over: a hole of 4 GiB is surveyed at once."""
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("1.bin")
    info.size = 4 << 30
    with path.open("wb") as file:
        file.write(info.tobuf())
        file.seek(info.size, io.SEEK_CUR)
        file.write(tar(sample("2")))
    found = list(blocks(opened(tmp_path, "a.tar"), bounds=Bounds(size=1 << 20)))
    assert [block.rows for block in found] == [1, 1]


# -- torn ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.77])
def test_torn(tmp_path: Path, name: str, share: float) -> None:
    """Of a shard that is cut off, whole samples are read, and one failed record says what is lost.

    A resumed survey counts it no second time.
    """
    data = tar(several(20))
    data = gzip.compress(data) if name.endswith("gz") else data
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    source = opened(tmp_path, name)
    found, records = read(source, bounds=Bounds(rows=3))
    assert kinds(records) == [""] * (len(records) - 1) + ["damaged"]
    assert 1 < len(records) < 20
    fault = records[-1].fault
    assert fault is not None and "lost" in fault.message
    assert not list(blocks(source, found))
    assert not list(blocks(opened(tmp_path, name), found))


def test_every_cut(tmp_path: Path) -> None:
    """Wherever a shard is cut off, samples come whole or as one failed record, and no more than
    there were.
    """
    data = tar(several(3))
    end = data.rstrip(b"\0")
    path = tmp_path / "a.tar"
    for length in [*range(1, len(end), 97), *range(512, len(end) + 1024, 512)]:
        path.write_bytes(data[:length])
        try:
            source = opened(tmp_path, "a.tar")
            found, records = read(source)
        except ValueError:
            assert length < 512
            continue
        whole = [record for record in records if record.fault is None]
        assert len(records) <= 3
        assert kinds(records)[: len(whole)] == [""] * len(whole)
        assert len(whole) == 3 or kinds(records)[-1] == "damaged"
        for record in whole:
            assert record.values["jpg"] == record.values["__key__"].encode() * 300
        assert not list(blocks(source, found))


def test_no_end_mark(tmp_path: Path) -> None:
    """A shard that ends between two members has lost what followed: its last sample fails."""
    data = tar(several(3)).rstrip(b"\0")
    (tmp_path / "a.tar").write_bytes(data + bytes(-len(data) % 512))
    _, records = read(opened(tmp_path, "a.tar"))
    assert kinds(records) == ["", "", "damaged"]
    assert records[-1].fault is not None and "end mark" in records[-1].fault.message


def test_a_damaged_header(tmp_path: Path) -> None:
    """Nothing behind a damaged header can be found: one failed record stands for that."""
    data = bytearray(tar(several(10)))
    at = data.index(b"0005.json")
    data[at : at + 100] = b"?" * 100
    (tmp_path / "a.tar").write_bytes(data)
    _, records = read(opened(tmp_path, "a.tar"))
    assert kinds(records) == [""] * 4 + ["damaged"], "the last whole sample may have lost members"


@pytest.mark.parametrize("size", [b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12])
def test_sizes_that_are_lies(tmp_path: Path, size: bytes) -> None:
    """A member that claims terabytes, or less than nothing, costs no memory and no time."""
    data = bytearray(tar(sample("1")))
    data[124:136] = size
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    (tmp_path / "a.tar").write_bytes(data)
    try:
        _, records = read(opened(tmp_path, "a.tar"))
    except ValueError:
        return
    assert kinds(records) == ["damaged"]


def test_archives_one_behind_the_other(tmp_path: Path) -> None:
    """What stands behind an end mark is read as well: nothing is silently left out."""
    (tmp_path / "a.tar").write_bytes(tar(sample("1")) + tar(sample("2")))
    assert [row["__key__"] for row in rows(tmp_path, "a.tar")] == ["1", "2"]


def test_empty(tmp_path: Path) -> None:
    """A shard without samples has no rows."""
    (tmp_path / "a.tar").write_bytes(tar([]))
    (tmp_path / "b.tar").touch()
    (tmp_path / "c.tar").write_bytes(tar([("README", b"x")]))
    assert rows(tmp_path, "*.tar") == []


def test_no_tar(tmp_path: Path) -> None:
    """A file that is no tar is a mistake, before anything runs."""
    (tmp_path / "a.tar").write_bytes(b"PK\3\4" + bytes(1000))
    with pytest.raises(ValueError, match="no tar file"):
        opened(tmp_path, "a.tar")


# -- doubled and malformed -------------------------------------------------------------------------


def test_a_member_twice(tmp_path: Path) -> None:
    """Two members of one kind in a sample: which is meant cannot be known."""
    files = [*sample("1"), *sample("2"), ("2.JPG", b"another"), *sample("3")]
    (tmp_path / "a.tar").write_bytes(tar(files))
    _, records = read(opened(tmp_path, "a.tar"))
    assert kinds(records) == ["", "malformed", ""]
    assert records[1].fault is not None and "two of it" in records[1].fault.message


def test_a_key_that_comes_again(tmp_path: Path) -> None:
    """A key that comes again later is a record of its own; with `id` it is a failed one."""
    (tmp_path / "a.tar").write_bytes(tar([*sample("1"), *sample("2"), *sample("1", "again")]))
    assert [row["json"]["text"] for row in rows(tmp_path, "a.tar")] == ["of 1", "of 2", "again"]
    _, records = read(opened(tmp_path, "a.tar", id="__key__"))
    assert kinds(records) == ["", "", "duplicate_id"]


@pytest.mark.parametrize(
    ("name", "data"), [("1.json", b"{"), ("1.json", b"NaN"), ("1.txt", b"\xff"), ("1.json", b"")]
)
def test_malformed(tmp_path: Path, name: str, data: bytes) -> None:
    """A member that is not what its name says fails its sample alone, and is named."""
    (tmp_path / "a.tar").write_bytes(tar([*sample("0"), (name, data), *sample("2")]))
    _, records = read(opened(tmp_path, "a.tar"))
    assert kinds(records) == ["", "malformed", ""]
    fault = records[1].fault
    assert fault is not None and "'1'" in fault.message


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """A key that is not UTF-8 could stand in no dataset."""
    data = tar([("\udcff.txt", b"x"), *sample("2")], tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(data)
    _, records = read(opened(tmp_path, "a.tar"))
    assert kinds(records) == ["malformed", ""]


# -- changed ---------------------------------------------------------------------------------------


def append(path: Path, files: Files) -> None:
    with tarfile.open(path, "a") as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def test_appended(tmp_path: Path) -> None:
    """Samples appended to a shard are new rows; the old ones stand."""
    path = tmp_path / "a.tar"
    path.write_bytes(tar(several(5)))
    found, _ = read(opened(tmp_path, "a.tar"))
    append(path, sample("new"))
    source = opened(tmp_path, "a.tar")
    assert source.intact(found[0].spans[0])
    _, records = read(source, found)
    assert [record.values["__key__"] for record in records] == ["new"]
    assert records[0].place == "0/a.tar#5"


def test_a_continued_sample(tmp_path: Path) -> None:
    """A member appended to the last sample changes it, which is noticed."""
    path = tmp_path / "a.tar"
    path.write_bytes(tar(several(5)))
    found, _ = read(opened(tmp_path, "a.tar"))
    append(path, [("0004.txt", b"more")])
    source = opened(tmp_path, "a.tar")
    assert not source.intact(found[0].spans[0])
    with pytest.raises(SourceChangedError, match="continued"):
        read(source, found)


def test_a_torn_shard_that_is_completed(tmp_path: Path) -> None:
    """What was torn when it was surveyed, and is whole now, has changed."""
    data = tar(several(5))
    path = tmp_path / "a.tar"
    for length in (len(data.rstrip(b"\0")) - 300, len(data.rstrip(b"\0")) // 512 * 512 + 512, 2700):
        path.write_bytes(data[:length])
        source = opened(tmp_path, "a.tar")
        found, records = read(source)
        assert kinds(records)[-1] == "damaged"
        path.write_bytes(data)
        assert not opened(tmp_path, "a.tar").intact(found[0].spans[-1])


def test_replaced(tmp_path: Path) -> None:
    """A sample that has changed is noticed: by its headers, or by its digest when it is read."""
    path = tmp_path / "a.tar"
    data = tar(several(5))
    path.write_bytes(data)
    found, before = read(opened(tmp_path, "a.tar"))
    path.write_bytes(tar([*sample("x"), *several(4)]))
    assert not opened(tmp_path, "a.tar").intact(found[0].spans[0])
    path.write_bytes(data.replace(b"of 0003", b"of 3000"))
    after = list(opened(tmp_path, "a.tar").read(found[0].spans[0]))
    changed = [a.digest != b.digest for a, b in zip(before, after, strict=True)]
    assert changed == [False, False, False, True, False]
    path.write_bytes(tar(several(2)))
    with pytest.raises(SourceChangedError):
        list(opened(tmp_path, "a.tar").read(found[0].spans[0]))


# -- which files -----------------------------------------------------------------------------------


def test_folders(tmp_path: Path) -> None:
    """A folder of shards is read in order; shards beside rows or images are what these refer to."""
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in (10, 2):
        (shards / f"part-{number}.tar").write_bytes(tar(sample(str(number))))
    assert [row["__key__"] for row in rows(tmp_path, "shards")] == ["2", "10"]
    (shards / "rows.jsonl").write_text('{"a": 1}\n')
    assert rows(tmp_path, "shards") == [{"a": 1}]
    assert [row["__key__"] for row in rows(tmp_path, "shards", format="webdataset")] == ["2", "10"]
    (shards / "rows.jsonl").rename(shards / "photo.jpg")
    assert [row["file_name"] for row in rows(tmp_path, "shards")] == ["photo.jpg"]


def test_limit(tmp_path: Path) -> None:
    """No more samples are read than the limit says."""
    (tmp_path / "a.tar").write_bytes(tar(several(10)))
    assert len(rows(tmp_path, "a.tar", limit=4)) == 4
    assert [r.values["__key__"] for r in opened(tmp_path, "a.tar").peek(2)] == ["0000", "0001"]


@settings(max_examples=150)
@given(data=st.data())
def test_any_damage(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever bytes are changed, reading ends, spans keep their promises, and a second reading
    finds the same.
    """
    folder = tmp_path_factory.mktemp("damaged")
    raw = bytearray(tar(several(3)))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, 5000))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(600, len(raw)))]
    packed = data.draw(st.booleans())
    name = "a.tar.gz" if packed else "a.tar"
    (folder / name).write_bytes(gzip.compress(raw) if packed else raw)
    try:
        source = opened(folder, name)
        found, first = read(source, bounds=Bounds(rows=2))
        _, second = read(opened(folder, name), bounds=Bounds(rows=2))
    except (ValueError, RunError) as exc:
        assert "tar" in str(exc)
        return
    assert not list(blocks(source, found))
    keep: Any = [(record.place, record.digest, dict(record.values)) for record in first]
    assert keep == [(record.place, record.digest, dict(record.values)) for record in second]
