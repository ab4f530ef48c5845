"""Small videos whose every frame shows its own number, encoded here."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
from PIL import Image

TICK = Fraction(1, 30_000)
SIDE = 32
STEP = 8
NTSC = Fraction(30_000, 1001)


def film(
    path: Path,
    times: Sequence[Fraction | float],
    tick: Fraction = TICK,
    codec: Literal["mpeg4", "libx264"] = "mpeg4",
) -> Path:
    """Frame n is shown from the nth time on; its colour says which it is (see `number`).

    An MP4 has its table of contents in front, as on the web. H.264 has frames that are stored in
    another order than they are shown in.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = SIDE * 2, SIDE, "yuv420p"
        stream.time_base = stream.codec_context.time_base = tick
        stream.bit_rate = 4_000_000
        for index, time in enumerate(times):
            shown = frame(Image.new("RGB", (SIDE * 2, SIDE), colour(index)))
            shown.pts, shown.time_base = round(Fraction(time) / tick), tick
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    return path


def frame(image: Image.Image) -> av.VideoFrame:
    return av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call,no-any-return]


def colour(index: int) -> tuple[int, int, int]:
    """1,024 numbers that survive a codec: two digits of base 32."""
    low, high = index % 32 * STEP, index // 32 * STEP
    return low, (low + high) // 2, high


def number(image: Image.Image) -> int:
    """Which frame a picture is."""
    found = image.convert("RGB").getpixel((SIDE, SIDE // 2))
    assert isinstance(found, tuple)
    return min(range(1024), key=lambda n: math.dist(found, colour(n)))


def turned(path: Path) -> None:
    """Turn an MP4 by a quarter, as a telephone that was held upright says: the matrix of its track
    header (ISO/IEC 14496-12, 8.3.2) becomes that of a rotation by 90 degrees clockwise.
    """
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    matrix = [0, 1 << 16, 0, -1 << 16, 0, 0, SIDE << 16, 0, 1 << 30]
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
