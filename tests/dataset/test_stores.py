"""Image stores as a whole: `mirage convert` and `mirage verify`."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.commands import mirage
from formats.samples import png
from PIL import Image as Pillow

from mirage import dataset
from mirage.dataset import stores
from mirage.dataset.verification import Violation
from mirage.errors import ConfigError
from mirage.store import open_store


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (4, 4), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def palette() -> bytes:
    buffer = io.BytesIO()
    Pillow.new("P", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


SOUND = {"LA_IMG_1": jpeg(), "LA_IMG_2": png(5), "LA_IMG_3": palette()}


def sound(path: Path) -> Path:
    path.write_text(json.dumps({key: text(data) for key, data in SOUND.items()}))
    return path


def broken(path: Path) -> Path:
    """Every kind of trouble, and a sound image between."""
    good = text(png(1))
    entries = [
        ("good", f'"{good}"'),
        ("unpadded", f'"{text(png(7) + b"xx").rstrip("=")}"'),
        ("url", f'"{base64.urlsafe_b64encode(png(2) + bytes([255] * 9)).decode()}"'),
        ("nothing", '""'),
        ("words", '"not base64!"'),
        ("null", "null"),
        ("good", f'"{text(png(3))}"'),
        ("cut", f'"{text(png(4)[:-20])}"'),
        ("xray.jpg", f'"{text(palette())}"'),
    ]
    body = ", ".join(f'"{key}": {value}' for key, value in entries)
    path.write_text("{" + body + ', "torn": "QUJD')
    return path


def test_a_store_goes_to_parquet_and_back_unchanged(tmp_path: Path) -> None:
    source = sound(tmp_path / "LA.json")
    for name in ("LA.parquet", "LA"):
        there = mirage("convert", source, "--to", "image-store", tmp_path / name)
        assert there.exit_code == 0
        assert "read 3 = written 3 + refused 0" in there.output
        back = mirage("convert", tmp_path / name, tmp_path / "back.json", "--from", "image-store")
        assert back.exit_code == 0
        assert (tmp_path / "back.json").read_bytes() == source.read_bytes()


def test_a_store_needs_no_name(tmp_path: Path) -> None:
    """It is recognised by its keys and its first image."""
    source = sound(tmp_path / "LA.json")
    assert dataset.convert(source, tmp_path / "LA.parquet").target == "image-store"
    for path in (source, tmp_path / "LA.parquet"):
        assert dataset.verify(path).format == "image-store"


def test_images_that_are_verified_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "STEP", 1)
    seen: list[int] = []
    dataset.verify(sound(tmp_path / "LA.json"), progress=seen.append)
    assert seen == [1, 2, 3]


def test_a_table_with_further_columns_is_no_store(tmp_path: Path) -> None:
    rows = {"id": ["a"], "base64": [text(png(1))], "caption": ["red"]}
    pq.write_table(pa.table(rows), tmp_path / "x.parquet")
    assert dataset.verify(tmp_path / "x.parquet").format == "rows"


def test_what_cannot_be_converted_is_listed_with_its_place(tmp_path: Path) -> None:
    source = broken(tmp_path / "LA.json")
    target = tmp_path / "LA.parquet"
    done = mirage("convert", source, "--to", "image-store", target, "--json")
    assert done.exit_code == 3
    said = json.loads(done.output)
    assert (said["read"], said["written"], said["refused"]) == (10, 5, 5)
    failures = [orjson.loads(line) for line in Path(said["failures"]).read_bytes().splitlines()]
    whole = source.read_bytes()
    found = []
    for failed in failures:
        file, _, at = failed["place"].partition(": byte ")
        assert file == str(source)
        found.append((whole[int(at) :].split(b'"')[1], failed["boundary"], failed["kind"]))
    assert found == [
        (b"nothing", "media", "empty"),
        (b"words", "media", "base64"),
        (b"null", "source", "type"),
        (b"good", "sink", "duplicate"),
        (b"QUJD", "source", "torn"),
    ]
    first = whole.index(b'"good"')
    assert f"another image came from {source}: byte {first}" in failures[3]["message"]
    with open_store(target) as store:
        assert list(store.keys()) == ["good", "unpadded", "url", "cut", "xray.jpg"]
        assert store.read("good") == png(1)
        assert store.read("unpadded") == png(7) + b"xx"
    assert mirage("convert", sound(source), target).exit_code == 0
    assert not Path(said["failures"]).exists()


def test_base64_is_canonical_after_a_conversion(tmp_path: Path) -> None:
    broken(tmp_path / "LA.json")
    dataset.convert(tmp_path / "LA.json", tmp_path / "out.json", to="image-store")
    for value in json.loads((tmp_path / "out.json").read_text()).values():
        assert text(base64.b64decode(value, validate=True)) == value


def test_every_rule_that_a_store_breaks_is_told_in_one_run(tmp_path: Path) -> None:
    source = broken(tmp_path / "LA.json")
    told: list[Violation] = []
    found = dataset.verify(source, format="image-store", report=told.append)
    assert (found.rows, found.images) == (8, 6)
    assert found.broken == {
        "base64-padding": 1,
        "image-empty": 1,
        "base64": 1,
        "type": 1,
        "image-truncated": 1,
        "torn": 1,
        "duplicate-key": 1,
    }
    assert found.notes == {"base64-url": 1, "image-name": 1}
    assert all(each.place.startswith(f"{source}: byte ") for each in told)
    assert mirage("verify", source, "--format", "image-store").exit_code == 3


def test_sound_images_keep_every_rule(tmp_path: Path) -> None:
    """Palettes are no trouble."""
    dataset.convert(sound(tmp_path / "LA.json"), tmp_path / "LA.parquet")
    for name in ("LA.json", "LA.parquet"):
        found = dataset.verify(tmp_path / name, format="image-store")
        assert found.sound
        assert not found.notes
        assert (found.rows, found.images) == (3, 3)


def test_parquet_without_an_index_breaks_every_look_up(tmp_path: Path) -> None:
    rows = {"id": list(SOUND), "base64": [text(data) for data in SOUND.values()]}
    pq.write_table(pa.table(rows), tmp_path / "x.parquet")
    found = dataset.verify(tmp_path / "x.parquet")
    assert found.broken == {"pandas-index": 1}
    dataset.convert(tmp_path / "x.parquet", tmp_path / "y.parquet")
    assert dataset.verify(tmp_path / "y.parquet").sound


@pytest.mark.parametrize(
    ("path", "asked", "said"),
    [
        ("LA.json", {"to": "llava", "format": "image-store"}, "no way to or from llava"),
        ("LA.json", {"to": "image-store", "format": "llava"}, "no way to or from llava"),
        ("nowhere.json", {"to": "image-store"}, "cannot be read: No such file"),
        ("array.json", {"to": "image-store"}, "neither Parquet nor one JSON object"),
        ("empty", {"to": "image-store"}, "no Parquet files in it"),
    ],
)
def test_what_cannot_be_meant_is_said(
    tmp_path: Path, path: str, asked: dict[str, str], said: str
) -> None:
    sound(tmp_path / "LA.json")
    (tmp_path / "array.json").write_text("[]")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=said):
        dataset.convert(tmp_path / path, tmp_path / "out.parquet", **asked)  # type: ignore[arg-type]
    assert not (tmp_path / "out.parquet").exists()
