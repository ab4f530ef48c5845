"""What a model sees: the original wherever it can, and otherwise a faithful copy within limits."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from mirage.errors import MediaError
from mirage.media import guard, locate, picture
from mirage.record import Abilities, Image, Picture

from .pictures import encoded, noise, opened, png_header

ANY = Abilities(images=True)
MODULE = sys.modules["mirage.media.picture"]


def seen(data: bytes, **limits: Any) -> Picture:
    return picture(Image(given=data, data=data), Abilities(images=True, **limits))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_original(kind: str) -> None:
    """An image within the limits is sent byte by byte, under the type of its bytes."""
    data = encoded(noise(), kind)
    digest = hashlib.sha256(data).hexdigest()
    expected = Picture(data, f"image/{kind.lower()}", digest)
    assert seen(data) == expected
    assert seen(data, max_pixels=64 * 48, max_bytes=len(data)) == expected


def test_name_does_not_matter(tmp_path: Path) -> None:
    """A PNG named .jpg is sent as the PNG that it is."""
    (tmp_path / "a.jpg").write_bytes(encoded(noise(), "PNG"))
    image = locate("a.jpg", tmp_path)
    assert isinstance(image, Image)
    assert picture(image, ANY).media_type == "image/png"


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP"])
def test_other_media_types_become_png(kind: str) -> None:
    """A kind that the engine does not take is sent as PNG, equal in pixels."""
    data = encoded(noise(), kind)
    copy = seen(data, media_types=frozenset({"image/jpeg", "image/png"}))
    assert (copy.media_type, copy.copy) == ("image/png", "png 64x48")
    assert opened(copy.data).tobytes() == opened(data).convert("RGB").tobytes()
    assert copy.digest == hashlib.sha256(data).hexdigest()


def test_engine_that_takes_only_jpeg() -> None:
    """Where PNG is not taken either, the copy is a JPEG, with transparency laid on white."""
    clear = Pillow.new("RGBA", (8, 8), (255, 0, 0, 0))
    copy = seen(encoded(clear, "PNG"), media_types=frozenset({"image/jpeg"}))
    assert (copy.media_type, copy.copy) == ("image/jpeg", "jpeg q95 8x8")
    assert opened(copy.data).getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("limit", [1, 7, 1000, 3071])
def test_max_pixels(kind: str, limit: int) -> None:
    """A larger image is shrunk below the limit, its aspect and its kind kept."""
    copy = seen(encoded(noise(), kind), max_pixels=limit)
    size = guard(copy.data)
    assert limit / 4 <= size.pixels <= limit
    assert limit < 1000 or abs(size.width / size.height - 4 / 3) < 0.06
    assert copy.media_type == f"image/{kind.lower()}"


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (3, 1000)])
def test_max_pixels_of_lines(size: tuple[int, int]) -> None:
    """Even a line of pixels keeps to the limit."""
    copy = seen(encoded(Pillow.new("L", size), "PNG"), max_pixels=10)
    assert 1 <= guard(copy.data).pixels <= 10


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("limit", [5000, 2500, 1000])
def test_max_bytes(kind: str, limit: int) -> None:
    """A file that is too long loses quality first and pixels then, and says so."""
    copy = seen(
        encoded(noise(), kind, **({"quality": 100} if kind == "JPEG" else {})), max_bytes=limit
    )
    assert len(copy.data) <= limit
    size = guard(copy.data)
    assert copy.copy.startswith("jpeg q") and copy.copy.endswith(f"{size.width}x{size.height}")


def test_max_bytes_without_jpeg() -> None:
    """Where only PNG is taken, the copy shrinks until it fits."""
    copy = seen(encoded(noise(), "PNG"), max_bytes=2000, media_types=frozenset({"image/png"}))
    assert copy.media_type == "image/png"
    assert 1000 < len(copy.data) <= 2000


def test_impossible_limit() -> None:
    """A limit that no image can keep is an error of the record."""
    with pytest.raises(MediaError) as caught:
        seen(encoded(noise(), "PNG"), max_bytes=20)
    assert caught.value.kind == "limits"


def test_copies_are_the_same_each_time() -> None:
    """The same image and limits give the same bytes, whatever was made in between."""
    data = encoded(noise(), "JPEG")
    first = seen(data, max_pixels=500)
    seen(encoded(noise(8, 8), "PNG"), max_pixels=20)
    assert seen(data, max_pixels=500) == first
    assert seen(data, max_pixels=501).copy != first.copy or first.copy == "jpeg q95 25x19"


@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation(turn: int) -> None:
    """The copy stands upright as EXIF says; the original goes as it lies."""
    quarters = Pillow.new("RGB", (32, 16), "black")
    quarters.paste("white", (0, 0, 16, 8))
    exif = Pillow.Exif()
    exif[0x0112] = turn
    data = encoded(quarters, "JPEG", exif=exif, quality=95)
    assert seen(data).data == data
    copy = opened(seen(data, max_pixels=128).data).convert("L")
    assert copy.size == ((16, 8) if turn < 5 else (8, 16))
    right, low = copy.width - 1, copy.height - 1
    shades = [copy.getpixel(corner) for corner in [(0, 0), (right, 0), (right, low), (0, low)]]
    assert shades.index(max(shades)) == [0, 1, 2, 3, 0, 1, 2, 3][turn - 1]  # type: ignore[type-var]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif() -> None:
    """A damaged EXIF block does not cost the picture."""
    data = encoded(noise(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert opened(seen(data, max_pixels=100).data).size == (11, 8)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "F", "I"])
def test_odd_modes_become_plain(mode: str) -> None:
    """Palettes, ink, floats and bits are copied as what every model reads."""
    kind = {"CMYK": "JPEG", "F": "TIFF", "I": "TIFF"}.get(mode, "PNG")
    copy = seen(encoded(noise().convert(mode), kind), max_pixels=300)
    assert opened(copy.data).mode in ("L", "LA", "RGB", "RGBA")


def test_cmyk_keeps_its_colours() -> None:
    """A red JPEG in CMYK is a red copy."""
    data = encoded(Pillow.new("RGB", (64, 64), "red").convert("CMYK"), "JPEG", quality=95)
    red, green, blue = opened(seen(data, max_pixels=64).data).getpixel((4, 4))  # type: ignore[misc]
    assert red > 240 and green < 15 and blue < 15


def test_palette_transparency() -> None:
    """A transparent palette entry stays transparent in the copy."""
    image = Pillow.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    copy = opened(seen(encoded(image, "PNG", transparency=0), max_pixels=16).data)
    assert copy.mode == "RGBA" and copy.getpixel((1, 1))[3] == 0  # type: ignore[index]


@pytest.mark.parametrize(("value", "shown"), [(0, 0), (257 * 128, 128), (65535, 255)])
def test_sixteen_bits(value: int, shown: int) -> None:
    """16 bits are scaled to 8, not clipped to white."""
    data = encoded(Pillow.new("I;16", (8, 8), value), "PNG")
    assert seen(data).data == data
    assert opened(seen(data, max_pixels=16).data).getpixel((0, 0)) == shown


def test_animation() -> None:
    """An animation is sent whole where GIF is taken, and as its first frame otherwise."""
    frames = [Pillow.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert seen(data).data == data
    copy = opened(seen(data, media_types=frozenset({"image/png"})).data)
    assert copy.convert("RGB").getpixel((8, 8)) == (255, 0, 0)
    assert getattr(copy, "n_frames", 1) == 1


def test_a_png_named_jpg(tmp_path: Path) -> None:
    """The bytes say what an image is: a PNG named .jpg is sent, and copied, as PNG."""
    file = tmp_path / "photo.jpg"
    file.write_bytes(encoded(noise(), "PNG"))
    image = Image(given="photo.jpg", path=str(file))
    sent = picture(image, ANY)
    assert (sent.data, sent.media_type) == (file.read_bytes(), "image/png")
    assert picture(image, Abilities(max_pixels=100)).media_type == "image/png"


@pytest.mark.parametrize(("mode", "kind"), [("P", "PNG"), ("CMYK", "JPEG"), ("I;16", "PNG")])
def test_odd_modes_are_sent_as_they_are(mode: str, kind: str) -> None:
    """Palettes, ink and 16 bits are no reason to touch an image that the engine takes."""
    made = Pillow.new("I;16", (8, 8), 9) if mode == "I;16" else noise().convert(mode)
    data = encoded(made, kind)
    assert (seen(data).data, seen(data).copy) == (data, "")


@pytest.mark.parametrize(
    ("given", "end"),
    [
        ("photos/7.jpg", ": 'photos/7.jpg'"),
        ({"bytes": None, "path": "7.jpg"}, ": '7.jpg'"),
        (b"bytes", "marker"),
        ("data:image/jpeg;base64,AAAA", "marker"),
    ],
)
def test_a_bad_image_is_named(given: Any, end: str) -> None:
    """Of several in one record, the message says which; bytes have no name."""
    with pytest.raises(MediaError) as caught:
        picture(Image(given=given, data=encoded(noise(), "JPEG")[:-2]), ANY)
    assert (caught.value.kind, caught.value.message.endswith(end)) == ("truncated", True)


def test_truncated_and_bombs_are_not_sent() -> None:
    """What the guard refuses never reaches a model."""
    with pytest.raises(MediaError, match="cut off"):
        seen(encoded(noise(), "JPEG")[:-400])
    with pytest.raises(MediaError, match="limit of"):
        seen(png_header(30_000, 30_000))


def test_pixels_that_do_not_decode() -> None:
    """A whole file with broken pixels is the record's error once it must be decoded."""
    with pytest.raises(MediaError) as caught:
        seen(png_header(64, 48), max_pixels=10)
    assert caught.value.kind == "broken"


def test_digest_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is hashed once while path, size and time stay, and again after a change."""
    file = tmp_path / "a.png"
    file.write_bytes(encoded(noise(), "PNG"))
    os.utime(file, ns=(10**18, 10**18))
    image = Image(given="a.png", path=str(file))
    hashed: list[int] = []
    monkeypatch.setattr(MODULE, "_digests", {})
    monkeypatch.setattr(MODULE, "REMEMBERED", 1)

    class Counting:
        @staticmethod
        def sha256(data: bytes) -> Any:
            hashed.append(len(data))
            return hashlib.sha256(data)

    monkeypatch.setattr(MODULE, "hashlib", Counting)
    assert picture(image, ANY) == picture(image, ANY)
    assert len(hashed) == 1
    file.write_bytes(encoded(noise(10, 10), "PNG"))
    changed = [picture(image, ANY).digest, picture(image, ANY).digest]
    assert changed == [hashlib.sha256(file.read_bytes()).hexdigest()] * 2
    assert len(hashed) == 3, "a file that has just been written is not remembered"
    os.utime(file, ns=(10**18 + 1, 10**18 + 1))
    picture(image, ANY)
    assert len(MODULE._digests) == 1, "the memo is bounded"


def test_replaced_after_it_was_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent is hashed as it is, though another file was known under the same state."""
    monkeypatch.setattr(MODULE, "_digests", {})
    file = tmp_path / "a.png"
    file.write_bytes(encoded(noise(), "PNG"))
    os.utime(file, ns=(10**18, 10**18))
    image = locate("a.png", tmp_path)
    assert isinstance(image, Image)
    picture(image, ANY)
    for data in (encoded(noise(10, 10), "PNG"), encoded(noise(90, 90), "PNG")):
        file.write_bytes(data)
        assert picture(image, ANY) == Picture(data, "image/png", hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("told", [0, 1, 9_999, 10_000, 10_001, 1 << 20])
def test_contents(tmp_path: Path, told: int) -> None:
    """A file is read whole, whatever size it was said to have."""
    file = tmp_path / "a"
    file.write_bytes(os.urandom(10_000))
    assert MODULE.contents(str(file), told) == file.read_bytes()


def test_file_that_went_away(tmp_path: Path) -> None:
    """A file that is gone by the time it is needed is missing."""
    with pytest.raises(MediaError) as caught:
        picture(Image(given="a.png", path=str(tmp_path / "a.png")), ANY)
    assert caught.value.kind == "missing"


def test_pillow_is_not_loaded_for_a_photograph() -> None:
    """Passing an image through needs no image library."""
    code = (
        "import sys\nfrom mirage.media import locate, picture\n"
        "from mirage.record import Abilities\n"
        "picture(locate(sys.stdin.buffer.read(), None), Abilities())\n"
        "assert not any(name.startswith('PIL') for name in sys.modules)"
    )
    data = encoded(noise(), "JPEG")
    assert subprocess.run([sys.executable, "-c", code], input=data, check=False).returncode == 0
