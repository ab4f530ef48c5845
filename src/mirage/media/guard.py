"""Is this a whole image of a sane size? Answered from its structure alone, without decoding.

It stands before every picture that is sent, so it must cost microseconds: headers are read, blocks
are skipped by their lengths, and no pixel is touched. TIFF, which is always converted, is opened
(not decoded) by Pillow.
"""

from __future__ import annotations

import io
import struct

from msgspec import Struct

from mirage.errors import MediaError, boundary
from mirage.media.sniff import sniff

MAX_PIXELS = 178_956_970
"""Where Pillow's own limit against decompression bombs, doubled, raises: 512 MiB of RGB."""
MAX_BLOCKS = 1_000_000
"""The most blocks of a GIF, chunks of a PNG or segments of a JPEG that are looked at."""
NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Size(Struct, frozen=True):
    """Width and height in pixels, as stored: a turn that EXIF asks for is not counted in."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def guard(data: bytes) -> Size:
    """The size of an image that is whole and not too large.

    Raises MediaError: "unknown", "empty", "broken" (no sane header), "truncated" (the end is
    missing) or "bomb" (more than MAX_PIXELS).
    """
    try:
        size = CHECKS[sniff(data)](data)
    except (struct.error, IndexError):
        raise truncated("it ends within its header") from None
    if size.width < 1 or size.height < 1:
        raise MediaError("broken", f"an image of {size.width} x {size.height} pixels")
    if size.pixels > MAX_PIXELS:
        raise MediaError(
            "bomb", f"{size.width} x {size.height} pixels are more than the limit of {MAX_PIXELS:,}"
        )
    return size


def truncated(how: str) -> MediaError:
    return MediaError("truncated", f"the image is cut off: {how}")


def jpeg(data: bytes) -> Size:
    """ITU-T T.81, annex B: segments up to the first scan, a frame header among them, then EOI.

    Anything may follow EOI (padding, a second picture, a film): in a scan FF D9 cannot occur.
    """
    size, at = None, 2
    for _ in range(MAX_BLOCKS):
        if data[at] != 0xFF:
            raise MediaError("broken", f"byte {at} of the JPEG should begin a segment")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in NO_LENGTH:
            at += 2
        elif marker == 0xDA:
            return ended(data, at, size)
        elif marker == 0xD9:
            raise MediaError("broken", "a JPEG without a scan")
        else:
            if marker in FRAMES:
                height, width = struct.unpack_from(">HH", data, at + 5)
                size = Size(width, height)
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    raise MediaError("broken", f"a JPEG of more than {MAX_BLOCKS:,} segments")


def ended(data: bytes, scan: int, size: Size | None) -> Size:
    """The size of a JPEG whose first scan is at `scan`, if its end marker comes after that."""
    if size is None:
        raise MediaError("broken", "a JPEG without a frame header")
    if data.rfind(b"\xff\xd9", scan) < 0:
        raise truncated("a JPEG without its end marker")
    return size


def png(data: bytes) -> Size:
    """PNG, third edition (W3C), sections 5.3 and 11.2.1: IHDR first, chunks up to IEND."""
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if kind != b"IHDR" or length != 13:
        raise MediaError("broken", "a PNG that does not begin with IHDR")
    at, end = 8, len(data)
    for _ in range(MAX_BLOCKS):
        if at + 12 > end:
            raise truncated("a PNG whose chunks do not reach IEND")
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if kind == b"IEND" and at <= end:
            return Size(width, height)
    raise MediaError("broken", f"a PNG of more than {MAX_BLOCKS:,} chunks")


def gif(data: bytes) -> Size:
    """GIF89a, sections 18 to 27: blocks up to the trailer; a frame may exceed the screen."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + table(flags)
    seen = False
    for _ in range(MAX_BLOCKS):
        kind = data[at]
        if kind == 0x3B and seen:
            return Size(width, height)
        if kind == 0x21:
            at = after_blocks(data, at + 2)
        elif kind == 0x2C:
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, at + 1)
            if not seen:
                width, height, seen = max(width, left + wide), max(height, top + high), True
            at = after_blocks(data, at + 11 + table(flags))
        else:
            raise MediaError("broken", f"byte {at} of the GIF should begin a block")
    raise MediaError("broken", f"a GIF of more than {MAX_BLOCKS:,} blocks")


def table(flags: int) -> int:
    """The length in bytes of a GIF's colour table, by the flags before it."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def after_blocks(data: bytes, at: int) -> int:
    """Where a GIF goes on behind a sequence of sub-blocks."""
    for _ in range(MAX_BLOCKS):
        length = data[at]
        at += 1 + length
        if not length:
            return at
    raise MediaError("broken", f"a GIF with more than {MAX_BLOCKS:,} pieces in one block")


def webp(data: bytes) -> Size:
    """RFC 9649: the RIFF header says how long the file is, the first chunk how large the image."""
    if 8 + int.from_bytes(data[4:8], "little") > len(data):
        raise truncated("a WebP shorter than its header says")
    kind = data[12:16]
    if kind == b"VP8X":
        wide, high = data[24:27], data[27:30]
        return Size(int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Size(width & 0x3FFF, height & 0x3FFF)
    raise MediaError("broken", f"a WebP whose first chunk is {kind!r}")


def bmp(data: bytes) -> Size:
    """Windows BITMAPFILEHEADER and BITMAPINFOHEADER; only uncompressed rows have a known length."""
    (start,) = struct.unpack_from("<I", data, 10)
    if data[14] in (12, 16):
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
        packing = 0
    else:
        width, height, _, depth, packing = struct.unpack_from("<iiHHI", data, 18)
    size = Size(width, abs(height))
    row = (width * depth + 31) // 32 * 4
    if packing in (0, 3) and size.pixels <= MAX_PIXELS and start + row * size.height > len(data):
        raise truncated("a BMP with fewer rows than its header says")
    return size


def tiff(data: bytes) -> Size:
    """TIFF 6.0: its directory may stand anywhere, so Pillow finds the first image's size."""
    from PIL import Image

    try:
        with boundary(MediaError, "broken"), Image.open(io.BytesIO(data)) as opened:
            return Size(*opened.size)
    except MediaError as exc:
        if isinstance(exc.__cause__, Image.DecompressionBombError):
            raise MediaError("bomb", str(exc.__cause__)) from exc
        raise


CHECKS = {
    "image/jpeg": jpeg,
    "image/png": png,
    "image/gif": gif,
    "image/webp": webp,
    "image/bmp": bmp,
    "image/tiff": tiff,
}
