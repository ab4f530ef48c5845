"""Pictures into a store: bytes kept, keys unique, troubles listed, nothing half-written."""

from __future__ import annotations

import gc
import io
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from cli.commands import document, mirage
from media.pictures import encoded, noise
from media.site import serving
from PIL import Image

from mirage.dataset import convert
from mirage.dataset.convertit.conversion import prepared, square
from mirage.dataset.convertit.frame import Frame, Where
from mirage.dataset.convertit.stories import stories
from mirage.errors import ConfigError
from mirage.media.fetch import Limits
from mirage.media.web import Web
from mirage.store import open_store

from .films import film, number

PALETTE = encoded(noise(40, 30, "L").convert("P"), "PNG")
JPEG = encoded(noise(40, 30), "JPEG")


def gallery(folder: Path) -> Path:
    """Two that are right (one a PNG with a palette that is named .jpg), three that are not."""
    folder.mkdir()
    (folder / "1.jpg").write_bytes(JPEG)
    (folder / "2.jpg").write_bytes(PALETTE)
    (folder / "3.jpg").write_bytes(JPEG[: len(JPEG) // 2])
    (folder / "4.jpg").write_bytes(b"")
    (folder / "1.x.png").write_bytes(PALETTE)
    return folder


def listed(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("name", ["CGD.json", "CGD.parquet", "CGD"])
def test_the_bytes_are_those_of_the_files(tmp_path: Path, name: str) -> None:
    """Whatever the kind of store; and what cannot be read is listed with its rule."""
    done = convert(
        gallery(tmp_path / "in"), tmp_path / name, format="convert-it:change.CocoGeneralDifference"
    )
    assert (done.read, done.written, done.refused) == (5, 2, 3)
    with open_store(tmp_path / name) as store:
        assert list(store.keys()) == ["CGD_IMG_1", "CGD_IMG_2"]
        assert store.read("CGD_IMG_1") == JPEG
        assert store.read("CGD_IMG_2") == PALETTE
    assert isinstance(done.failures, Path)
    rules = {each["place"]: (each["kind"], each["message"]) for each in listed(done.failures)}
    assert rules["3.jpg"][0] == "truncated"
    assert rules["4.jpg"][0] == "empty"
    assert rules["1.x.png"][0] == "duplicate"
    assert "came from 1.jpg" in rules["1.x.png"][1]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"in", name, f"{name}.failed.jsonl"}


def test_a_damaged_picture_is_found_though_its_end_is_there(tmp_path: Path) -> None:
    """A PNG whose pixels do not decompress looks whole from outside."""
    data = bytearray(PALETTE)
    at = data.index(b"IDAT") + 8
    data[at : at + 20] = bytes(20)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.png").write_bytes(data)
    done = convert(folder, tmp_path / "x.json", format="convert-it:change.CocoGeneralDifference")
    assert dict(done.causes) == {"media/broken": 1}


def test_resized_pictures_are_squares_in_png(tmp_path: Path) -> None:
    """As the original stored them: RGB, whatever their shape was."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(PALETTE)
    out = tmp_path / "x.json"
    convert(folder, out, format="convert-it:change.CocoGeneralDifference", resize=224)
    with open_store(out) as store:
        data = store.read("CGD_IMG_1")
    picture = Image.open(io.BytesIO(data))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (224, 224))
    assert data == square(Image.open(io.BytesIO(PALETTE)), 224)


def test_frames_become_jpegs_that_show_what_they_showed(tmp_path: Path) -> None:
    """Where no size is asked for: as large as the video."""
    film(tmp_path / "in" / "v_1.mp4", [0, 1, 2])
    convert(tmp_path / "in", tmp_path / "DC.json", format="convert-it:video.DenseCaptions")
    with open_store(tmp_path / "DC.json") as store:
        assert list(store.keys()) == [f"DC_IMG_v_1_{n:04}" for n in range(3)]
        pictures = [Image.open(io.BytesIO(store.read(f"DC_IMG_v_1_{n:04}"))) for n in range(3)]
    assert [number(each) for each in pictures] == [0, 1, 2]
    assert {each.format for each in pictures} == {"JPEG"}


def test_frames_are_resized_from_their_pixels() -> None:
    """Not from a JPEG of them."""
    picture = noise(64, 48)
    made = prepared(Frame("v.mp4@0s", "v_0000", lambda: picture), 224)
    assert made == square(picture, 224)


def test_two_conversions_write_the_same_bytes(tmp_path: Path) -> None:
    """Threads decode as they like; the order is that of names and times."""
    film(tmp_path / "in" / "b.mp4", [n / 4 for n in range(40)])
    film(tmp_path / "in" / "a.mp4", [n / 3 for n in range(30)])
    for name in ("1.json", "2.json"):
        convert(tmp_path / "in", tmp_path / name, format="convert-it:fpv.EGO4D")
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_what_stops_a_conversion_leaves_the_old_store(tmp_path: Path) -> None:
    """And nothing beside it."""
    out = tmp_path / "x.json"
    out.write_text('{"a": "/9j/"}')
    gallery(tmp_path / "in")

    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "in"
    for n in range(1100):
        (folder / f"{n}_.jpg").write_bytes(b"x")
    with pytest.raises(KeyboardInterrupt):
        name = "convert-it:change.CocoGeneralDifference"
        convert(folder, out, format=name, progress=stop)
    assert out.read_text() == '{"a": "/9j/"}'
    assert {path.name for path in tmp_path.iterdir()} == {"in", "x.json"}


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    """A few are held at a time, not all 120 MB of them."""
    folder = tmp_path / "in"
    folder.mkdir()
    data = JPEG + bytes(2_000_000)
    for n in range(60):
        (folder / f"{n}.jpg").write_bytes(data)
    gc.collect()
    tracemalloc.start()
    convert(folder, tmp_path / "x.parquet", format="convert-it:change.CocoGeneralDifference")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 90_000_000


def test_pictures_are_fetched_once(tmp_path: Path) -> None:
    """The largest there is; one that is gone is that picture's trouble."""
    with serving() as site:
        large = site.set("/large.jpg", JPEG)
        small = site.set("/small.jpg", PALETTE)
        images = [
            {"id": "1", "url_o": large, "url_m": small},
            {"id": "2", "url_m": small},
            {"id": "3", "url_o": site.url + "/gone.jpg"},
        ]
        path = tmp_path / "vist.json"
        path.write_bytes(orjson.dumps({"images": images}))
        web = Web(tmp_path / "cache", Limits(private=True))
        frames = list(stories(Where(path, None, web)))
        made = [prepared(frame, None) for frame in frames]
        assert made[:2] == [JPEG, PALETTE]
        assert getattr(made[2], "kind", "") == "dead"
        assert [prepared(frame, None) for frame in frames[:2]] == made[:2]
        assert site.asked["/large.jpg"] == 1


@pytest.mark.parametrize(
    ("name", "to", "message"),
    [
        ("convert-it:2d.LLaVA", None, "did you mean '2d.Llava'"),
        ("convert-it:2d.Llava", "llava", "image-store"),
        ("convert-it:change.CocoGeneralDifference", None, "holds nothing"),
    ],
)
def test_what_cannot_be_meant_is_a_mistake(
    tmp_path: Path, name: str, to: str | None, message: str
) -> None:
    """Told before anything is written."""
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match=message):
        convert(tmp_path / "in", tmp_path / "x.json", format=name, to=to)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_command_says_what_was_refused(tmp_path: Path) -> None:
    """Exit code 3, and the list's place."""
    name = "convert-it:change.CocoGeneralDifference"
    out = tmp_path / "x.parquet"
    result = mirage("convert", gallery(tmp_path / "in"), "--from", name, out, "--json")
    assert result.exit_code == 3
    said = document(result.stdout)
    assert (said["from"], said["to"]) == (name, "image-store")
    assert said["failures"] == str(tmp_path / "x.parquet.failed.jsonl")


def test_size_and_fetching_belong_to_convert_it(tmp_path: Path) -> None:
    """Elsewhere they would be passed over."""
    result = mirage("convert", tmp_path / "in", tmp_path / "x.json", "--resize", "224")
    assert result.exit_code == 2
    assert "convert-it" in result.stderr
