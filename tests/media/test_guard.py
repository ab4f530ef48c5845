"""Sizes are read, and broken images refused, without decoding."""

from __future__ import annotations

import io
import struct
import time

import pytest
from PIL import Image

from mirage.errors import MediaError
from mirage.media import Size, extension, guard, sniff

from .pictures import encoded, noise, png_header

KINDS = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"]


@pytest.mark.parametrize("kind", KINDS)
def test_size(kind: str) -> None:
    """Width and height of every kind are those that Pillow decodes."""
    assert guard(encoded(noise(67, 31), kind)) == Size(67, 31)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_blocks": 2}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
        ("PNG", {"interlace": True}),
        ("TIFF", {"big_tiff": True}),
    ],
)
def test_size_of_variants(kind: str, options: dict[str, object]) -> None:
    """The variants of a format (progressive, lossless, extended) are read as well."""
    assert guard(encoded(noise(67, 31), kind, **options)) == Size(67, 31)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_size_of_bitmaps(mode: str) -> None:
    """A BMP of any depth is whole, and is not once a row is missing."""
    data = encoded(noise(33, 9).convert(mode), "BMP")
    assert guard(data) == Size(33, 9)
    with pytest.raises(MediaError, match="fewer rows"):
        guard(data[:-5])


def test_media_types() -> None:
    """The bytes say what an image is, and the extension follows."""
    found = {sniff(encoded(noise(), kind)): kind for kind in KINDS}
    assert found == {f"image/{kind.lower()}": kind for kind in KINDS}
    assert [extension(found) for found in found] == ["jpg", "png", "gif", "webp", "bmp", "tiff"]
    assert extension("image/svg+xml") == "bin"


@pytest.mark.parametrize(
    "data", [b"<html>", b"BM is a word", b"RIFF\0\0\0\0WAVE", b"\x00" * 40, b"\xff\xd8"]
)
def test_unknown(data: bytes) -> None:
    """What is no image is called unknown, and its beginning is shown."""
    with pytest.raises(MediaError, match="it begins with") as caught:
        sniff(data)
    assert caught.value.kind == "unknown"


def test_empty() -> None:
    """No bytes are no image."""
    with pytest.raises(MediaError) as caught:
        guard(b"")
    assert caught.value.kind == "empty"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95, 0.999])
def test_truncated(kind: str, share: float) -> None:
    """A file that was cut off anywhere behind its signature is refused."""
    data = encoded(noise(), kind)
    cut = data[: max(18, int(len(data) * share))]
    with pytest.raises(MediaError) as caught:
        guard(cut)
    assert caught.value.kind == "truncated"


def test_every_cut_of_an_animation_is_seen() -> None:
    """A GIF of several frames is whole only with its very last byte."""
    frames = [noise(12, 10), noise(12, 10, "L").convert("RGB")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert guard(data) == Size(12, 10)
    for length in range(13, len(data)):
        with pytest.raises(MediaError):
            guard(data[:length])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
def test_padding(kind: str) -> None:
    """What follows the end of an image (padding, a film) does no harm."""
    data = encoded(noise(), kind)
    assert guard(data + b"\0" * 100) == guard(data + b"ftypmp42") == guard(data)


def test_thumbnail_does_not_end_a_photograph() -> None:
    """The end marker of a thumbnail in EXIF does not pass for that of a cut JPEG."""
    thumbnail = encoded(noise(16, 12), "JPEG")
    data = encoded(noise(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    data = data[:2] + segment + data[2:]
    assert guard(data) == Size(64, 48)
    with pytest.raises(MediaError, match="end marker"):
        guard(data[: len(data) // 2 + len(segment)])


@pytest.mark.parametrize(
    "data",
    [
        png_header(20_000, 20_000),
        png_header(2**31 - 1, 2**31 - 1),
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\0;",
        b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0) + b",\0\0\0\0\xff\xff\xff\xff\0\2\0;",
        b"BM" + struct.pack("<IIIIiiHHI", 0, 0, 54, 40, 2**30, -(2**30), 1, 24, 0) + b"\0" * 20,
    ],
)
def test_bomb(data: bytes) -> None:
    """An image that claims more pixels than Pillow would ever decode is refused unopened."""
    with pytest.raises(MediaError) as caught:
        guard(data)
    assert caught.value.kind == "bomb"


def test_tiff_bomb() -> None:
    """A TIFF that claims too many pixels is refused when it is opened."""
    tags = [(256, 4, 1, 60_000), (257, 4, 1, 60_000), (258, 3, 1, 8), (259, 3, 1, 1)]
    tags += [(262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 60_000), (279, 4, 1, 1)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 8
    with pytest.raises(MediaError) as caught:
        guard(data)
    assert caught.value.kind == "bomb"


@pytest.mark.parametrize(
    "data",
    [
        png_header(0, 10),
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIDAT" + b"\0" * 30,
        b"\xff\xd8\xff\xd9" + b"\0" * 20,
        b"\xff\xd8\xff\xe0\0\4ab" + b"no marker here",
        b"\xff\xd8\xff\xda\0\2\xff\xd9",
        b"GIF89a" + struct.pack("<HHBBB", 5, 5, 0, 0, 0) + b"???",
        b"RIFF\x10\0\0\0WEBPABCD" + b"\0" * 12,
        b"II*\0" + b"\0" * 30,
    ],
)
def test_broken(data: bytes) -> None:
    """A signature with nonsense behind it is called broken."""
    with pytest.raises(MediaError) as caught:
        guard(data)
    assert caught.value.kind == "broken"


@pytest.mark.parametrize("tail", [b"\xff" * 5_000_000, b"\xff\xe0\0\2" * 1_500_000])
def test_hostile_jpeg_is_quick(tail: bytes) -> None:
    """A JPEG of nothing but fill bytes or empty segments is given up within a second or so."""
    began = time.perf_counter()
    with pytest.raises(MediaError):
        guard(b"\xff\xd8\xff" + tail)
    assert time.perf_counter() - began < 5


def test_photograph_costs_microseconds() -> None:
    """The guard of a photograph looks at headers, not at pixels."""
    data = encoded(noise(512, 512), "JPEG", quality=70)
    assert len(data) > 100_000
    began = time.perf_counter()
    for _ in range(200):
        guard(data)
    assert (time.perf_counter() - began) / 200 < 1e-3


def test_multi_picture_files() -> None:
    """An MPO, which Pillow tells from JPEG, is the JPEG that it begins with."""
    data = encoded(noise(), "MPO", save_all=True, append_images=[noise(32, 32)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert (sniff(data), guard(data)) == ("image/jpeg", Size(64, 48))
