"""What a model sees of an image: the original bytes where the engine takes them, else a copy.

The last station before a request. The usual case, a photograph within the limits, is read, guarded
and hashed, and Pillow is never loaded. A copy is a pure function of the original bytes and the
engine's limits, and says how it was made, so that a request's key covers it.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from mirage.errors import MediaError, boundary
from mirage.media.guard import guard
from mirage.media.locate import check, file_state, short
from mirage.media.sniff import sniff
from mirage.record import Abilities, Image, Picture

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

MAX_BYTES = 1 << 29
REMEMBERED = 1 << 16
SETTLED_NS = 2_000_000_000
ORIENTATION = 0x0112
QUALITY = 95
LOWER = (90, 80, 70)
SHRINK = 0.75

_digests: dict[tuple[str, int, int], str] = {}


def picture(image: Image, abilities: Abilities) -> Picture:
    """The picture of an image for an engine.

    The original goes as it is where its media type is one of `abilities.media_types` and it keeps
    to `max_pixels` and `max_bytes`. Otherwise a copy is made: the first frame, turned upright as
    EXIF says, in 8 bits, shrunk (aspect kept, Lanczos), as JPEG where the original is one and as
    PNG otherwise; where that is still over `max_bytes`, as JPEG of lower quality, then smaller.

    Raises MediaError: those of `guard` and `file_state`, "broken" where the pixels do not decode,
    "limits" where no copy is small enough.
    """
    data, digest = read(image)
    try:
        return seen(data, digest, abilities)
    except MediaError as error:
        named = "" if image.name is None else f": {short(image.name)}"
        raise MediaError(error.kind, f"{error.message}{named}") from error


def seen(data: bytes, digest: str, abilities: Abilities) -> Picture:
    """The original as it is, where the engine takes it; else a copy."""
    media_type = sniff(data)
    size = guard(data)
    if (
        media_type in abilities.media_types
        and (not abilities.max_pixels or size.pixels <= abilities.max_pixels)
        and (not abilities.max_bytes or len(data) <= abilities.max_bytes)
    ):
        return Picture(data, media_type, digest)
    with boundary(MediaError, "broken"):
        return copied(data, media_type, digest, abilities)


def read(image: Image) -> tuple[bytes, str]:
    """The original bytes and their SHA-256, which is remembered for files that lie still.

    A file that is no longer as it was located is hashed, and so is one that was written to in the
    last two seconds: its mtime could not show a further change.
    """
    state = file_state(image) if image.member is None else None
    if state is None:
        with boundary(MediaError, "unreadable"):
            data = image.read()
        return data, hashlib.sha256(data).hexdigest()
    path, size, mtime_ns = state
    if size > MAX_BYTES:
        raise MediaError("bomb", f"{path} has {size:,} bytes; the limit is {MAX_BYTES:,}")
    with boundary(MediaError, "unreadable"):
        data = contents(path, size)
    still = check(path, path) == (size, mtime_ns) and time.time_ns() - mtime_ns > SETTLED_NS
    if still and (digest := _digests.get(state)) is not None:
        return data, digest
    digest = hashlib.sha256(data).hexdigest()
    if still:
        if len(_digests) >= REMEMBERED:
            _digests.clear()
        _digests[state] = digest
    return data, digest


def contents(path: str, size: int) -> bytes:
    """The bytes of a file that is about so large. Where it is, that takes as few system calls as
    there can be: after each of them a thread must win the interpreter back.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - pathlib is slower
        data = file.read(size + 1)
        while len(data) != size and (more := file.read()):
            data += more
    return data


def copied(data: bytes, media_type: str, digest: str, abilities: Abilities) -> Picture:
    from PIL import Image as Pillow

    jpeg = "image/jpeg" in abilities.media_types
    lossy = jpeg and (media_type == "image/jpeg" or "image/png" not in abilities.media_types)
    with Pillow.open(io.BytesIO(data)) as opened:
        shown = upright(opened, within(opened.size, abilities.max_pixels))
    for frame, quality in attempts(shown, lossy=lossy, jpeg=jpeg):
        copy = encode(frame, quality)
        if not abilities.max_bytes or len(copy) <= abilities.max_bytes:
            width, height = frame.size
            kind = f"jpeg q{quality}" if quality else "png"
            media_type = "image/jpeg" if quality else "image/png"
            return Picture(copy, media_type, digest, f"{kind} {width}x{height}")
    raise MediaError("limits", f"no copy is as small as {abilities.max_bytes:,} bytes")


def within(size: tuple[int, int], max_pixels: int) -> tuple[int, int]:
    """The largest size of the same aspect with at most `max_pixels` (0: any number) pixels."""
    width, height = size
    if not max_pixels or width * height <= max_pixels:
        return size
    scale = math.sqrt(max_pixels / (width * height))
    width = max(1, min(int(width * scale), max_pixels))
    return width, max(1, min(int(height * scale), max_pixels // width))


def attempts(image: Pixels, *, lossy: bool, jpeg: bool) -> Iterator[tuple[Pixels, int]]:
    """Ever smaller copies, each with its JPEG quality (0: PNG). `jpeg`: whether that is allowed."""
    from PIL.Image import Resampling

    yield image, QUALITY if lossy else 0
    if jpeg:
        for quality in LOWER:
            yield image, quality
    width, height = image.size
    while width > 1 or height > 1:
        width, height = max(1, int(width * SHRINK)), max(1, int(height * SHRINK))
        yield image.resize((width, height), Resampling.LANCZOS), LOWER[-1] if jpeg else 0


def upright(opened: Pixels, size: tuple[int, int]) -> Pixels:
    """The first frame in 8 bits, at a size that is given as the image lies, turned as EXIF says."""
    from PIL.Image import Resampling, Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation(opened))
    if size != opened.size:
        # JPEG can be decoded at an eighth of its size; twice the target keeps Lanczos honest.
        opened.draft(None, (2 * size[0], 2 * size[1]))
    image = eight_bit(opened)
    if size != image.size:
        image = image.resize(size, Resampling.LANCZOS)
    return image if turn is None else image.transpose(turn)


def orientation(image: Pixels) -> int:
    """EXIF 2.32, tag 0x0112; 1, as it lies, where the EXIF block is missing or damaged."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except (OSError, SyntaxError, TypeError, ValueError, KeyError, struct.error):
        return 1


def eight_bit(image: Pixels) -> Pixels:
    """As L, LA, RGB or RGBA. 16 bits are scaled by 1/257; 32 bits, which have no fixed white, are
    stretched from their darkest to their brightest value.
    """
    if image.mode.startswith("I;16"):
        return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if image.mode in ("I", "F"):
        floats = image.convert("F")
        low, high = cast("tuple[float, float]", floats.getextrema())
        scale = 255 / ((high - low) or 1)
        return floats.point(lambda value: value * scale - low * scale).convert("L")
    if "transparency" in image.info or image.mode in ("PA", "RGBA"):
        return image.convert("RGBA")
    return image.convert({"1": "L", "L": "L", "LA": "LA"}.get(image.mode, "RGB"))


def encode(image: Pixels, quality: int) -> bytes:
    """PNG where `quality` is 0, otherwise JPEG without chroma subsampling, laid on white."""
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    if not quality:
        image.save(buffer, "PNG")
        return buffer.getvalue()
    if image.mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
        white = Pillow.new("RGBA", image.size, "white")
        image = Pillow.alpha_composite(white, image).convert("RGB")
    image.save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()
