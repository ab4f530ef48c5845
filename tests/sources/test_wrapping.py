"""Rows out of what archives and folders of images wrap around them, our own and others'."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from mirage.config.data import SourceConfig
from mirage.record import Image, Record
from mirage.sources import open_source

PNG = b"\x89PNG\r\n\x1a\n0"
JPEG = b"\xff\xd8\xff\xe0"


def tar(path: Path, **members: bytes | Any) -> None:
    """One sample with the key of the file's name; anything but bytes is written as JSON."""
    with tarfile.open(path, "w") as archive:
        for kind, value in members.items():
            data = value if isinstance(value, bytes) else orjson.dumps(value)
            info = tarfile.TarInfo(f"{path.stem}.{kind.replace('__', '.')}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def records(folder: Path, path: str, **keys: Any) -> list[Record]:
    config = SourceConfig.model_validate({"path": path, **keys})
    source = open_source(config, base=folder, number=0, spool=folder / "spool", bare=True)
    return [record for span in source.rest(()) for record in source.read(span)]


def seen(value: Any) -> Any:
    """Images by their bytes."""
    if isinstance(value, Image):
        return value.read()
    return [seen(item) for item in value] if isinstance(value, list) else value


def row(folder: Path, path: str) -> dict[str, Any]:
    (record,) = records(folder, path)
    assert record.fault is None
    return {key: seen(value) for key, value in record.values.items()}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"json": {"a": 1}, "jpg": JPEG}, {"a": 1, "image": JPEG}),
        ({"json": {"image": "x/7.jpg"}, "jpg": JPEG}, {"image": JPEG}),
        ({"json": {"images": ["7.jpg"]}, "jpg": JPEG}, {"images": [JPEG]}),
        ({"jpg": JPEG, "txt": b"a cat"}, {"txt": "a cat", "image": JPEG}),
        ({"0__jpg": JPEG, "1__png": PNG, "json": {}}, {"images": [JPEG, PNG]}),
        ({"10__png": PNG, "9__jpg": JPEG}, {"images": [JPEG, PNG]}),
        ({"jpg": JPEG, "seg__png": PNG}, {"image": JPEG, "seg": PNG}),
        ({"jpg": JPEG, "png": PNG}, {"image": JPEG, "png": PNG}),
        ({"json": [1, 2], "cls": b"3"}, {"json": [1, 2], "cls": "3"}),
    ],
)
def test_samples_of_others(
    tmp_path: Path, members: dict[str, Any], expected: dict[str, Any]
) -> None:
    """The columns of the JSON, and those that the members' names say; their key is kept."""
    tar(tmp_path / "cat-7.tar", **members)
    assert row(tmp_path, "cat-7.tar") == {"__key__": "cat-7", **expected}


def test_a_key_that_only_counts_is_left_out(tmp_path: Path) -> None:
    """As our sink makes them: the number of the archive, and that of the sample."""
    tar(tmp_path / "000012000000.tar", json={"a": 1})
    tar(tmp_path / "000012000001.tar", json={"a": 1})
    assert row(tmp_path, "000012000000.tar") == {"a": 1}
    assert row(tmp_path, "000012000001.tar") == {"__key__": "000012000001", "a": 1}


def test_a_member_that_the_json_has_too(tmp_path: Path) -> None:
    """Which of the two is meant, nobody knows."""
    tar(tmp_path / "a.tar", json={"txt": "x"}, txt=b"y")
    (record,) = records(tmp_path, "a.tar")
    assert record.fault is not None and record.fault.kind == "malformed"


def test_a_sample_of_a_training_format(tmp_path: Path) -> None:
    """The rows of an archive are recognised by what is in them; its key is the id."""
    said = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]
    tar(tmp_path / "cat.tar", json={"conversations": said, "image": "cat.jpg"}, jpg=JPEG)
    (record,) = records(tmp_path, "cat.tar", format="llava")
    assert record.fault is None
    assert record.values["id"] == "cat"
    assert [image.read() for image in record.values["images"]] == [JPEG]


def test_a_folder_of_images(tmp_path: Path) -> None:
    """The images stand where their names stood; without metadata, folders are labels."""
    folder = tmp_path / "in"
    for place in ("a.png", "cats/b.png", "dogs/small/c.png"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(PNG)
    found = [{k: seen(v) for k, v in record.values.items()} for record in records(tmp_path, "in")]
    labels: list[dict[str, str]] = [{}, {"label": "cats"}, {"label": "dogs/small"}]
    assert found == [{"image": PNG, **label} for label in labels]
    entry = {"a": 1, "file_name": "a.png", "b": 2, "left_file_names": ["cats/b.png", "a.png"]}
    (folder / "metadata.jsonl").write_bytes(orjson.dumps(entry))
    assert list(row(tmp_path, "in").items()) == [
        ("a", 1),
        ("image", PNG),
        ("b", 2),
        ("left", [PNG, PNG]),
    ]


def test_an_image_that_is_missing(tmp_path: Path) -> None:
    """The row is one record's fault, in plain rows and in samples."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(PNG)
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    entries = [{"file_name": "gone.png", "messages": said}, {"file_name": None, "messages": said}]
    (tmp_path / "in" / "metadata.jsonl").write_bytes(b"\n".join(map(orjson.dumps, entries)))
    plain = records(tmp_path, "in")
    assert [each.fault and each.fault.kind for each in plain] == ["image-missing", None]
    shaped = records(tmp_path, "in", format="messages")
    assert shaped[0].fault is not None and "image-missing" in shaped[0].fault.message
    assert shaped[1].fault is None
