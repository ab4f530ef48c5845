"""From a value of the source to an `Image`: what `type: image` accepts, and what it refuses.

The first station of an image. Nothing is opened here: a path is resolved, kept below its base, and
looked at with stat; the bytes stay where they are until somebody needs them.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import stat
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from mirage.errors import MediaError, boundary
from mirage.media.sniff import sniff
from mirage.places import Place, RemotePath, is_remote
from mirage.record import Image

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|file:", re.IGNORECASE)
PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
TIFF_MODES = frozenset({"CMYK", "LAB", "PA", "I", "F", "I;16L", "I;16B"})
SHOWN = 120


class Remote(Protocol):
    """What brings images that are URLs here: `web.Web`."""

    def image(self, given: Any, url: str) -> Image | None:
        """The image of a URL, brought or not; None for one that is to count as null."""
        ...


def locate(
    value: Any, base: Place | None, web: Remote | None = None
) -> Image | tuple[Image, ...] | None:
    """The image or images that a value stands for; None for None, a tuple for a list.

    Accepted: bytes, paths (below `base`, which may be in a store, or absolute where there is none;
    into archives as well),
    `{"bytes", "path"}` structs as Hugging Face stores them, base64 data URLs (RFC 2397), PIL
    images, URLs where there is a `web`, and lists of these. Raises MediaError: "relative",
    "outside", "missing", "file" (not a regular file), "empty", "url", "refused" (any other
    scheme), "broken" or "type", and those of `archives.inside`.
    """
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return tuple(item_of(item, base, web) for item in value)
    return one(value, base, web)


def item_of(item: Any, base: Place | None, web: Remote | None) -> Image:
    """One of a list, none of which can be left out: what came before and after would move."""
    found = one(item, base, web)
    if found is None:
        raise MediaError("dead", "one of a list of images does not exist any more")
    return found


def recognise(value: Any) -> Any:
    """The same value with an `Image` in place of all that holds an image's bytes, however deep.

    These are bytes of a known kind, structs of `datasets` and PIL images, in rows whose images
    nobody declared: they too reach the output unchanged. Paths stay what they are, text.
    """
    if isinstance(value, list | tuple):
        return [recognise(item) for item in value]
    if isinstance(value, dict):
        if value.keys() <= {"bytes", "path"} and isinstance(value.get("bytes"), bytes):
            return one(value, None)
        return {key: recognise(item) for key, item in value.items()}
    if isinstance(value, bytes):
        try:
            sniff(value)
        except MediaError:
            return value
        return one(value, None)
    pillow = sys.modules.get("PIL.Image")
    return one(value, None) if pillow and isinstance(value, pillow.Image) else value


def one(value: Any, base: Place | None, web: Remote | None = None) -> Image | None:
    if isinstance(value, Image):
        return value
    if isinstance(value, str):
        return from_text(value, value, base, web)
    if isinstance(value, bytes | bytearray | memoryview):
        return from_bytes(value, bytes(value))
    if isinstance(value, Mapping):
        return from_struct(value, base, web)
    if isinstance(value, os.PathLike):
        return from_path(value, str(value), base)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(value, pillow.Image):
        return Image(given=value, data=encode(value))
    if value is None:
        raise MediaError("type", "a list of images has a null in it")
    raise MediaError("type", f"not an image, a path or bytes: {type(value).__name__}")


def from_bytes(given: Any, data: bytes) -> Image:
    if not data:
        raise MediaError("empty", "the image has no bytes")
    return Image(given=given, data=data)


def from_struct(value: Mapping[str, Any], base: Place | None, web: Remote | None) -> Image | None:
    """An undecoded image of `datasets`: the bytes win, the path alone is a path."""
    data, path = value.get("bytes"), value.get("path")
    if isinstance(data, bytes | bytearray | memoryview):
        return from_bytes(value, bytes(data))
    if data is None and isinstance(path, str):
        return from_text(value, path, base, web)
    if data is None and path is None and value.keys() & {"bytes", "path"}:
        raise MediaError("empty", "the image has neither bytes nor a path")
    raise MediaError("type", f"not an image: an object with the keys {short(list(value))}")


def from_text(given: Any, text: str, base: Place | None, web: Remote | None) -> Image | None:
    if text[:5].lower() == "data:":
        return from_bytes(given, decode(text))
    if is_url(text):
        if web is None:
            raise MediaError("url", f"URLs are fetched where `run.fetch` says so: {short(text)}")
        return web.image(given, text)
    if text and isinstance(base, RemotePath):
        from mirage.media.afar import image_below

        return image_below(given, text, base)
    if SCHEME.match(text):
        raise MediaError("refused", f"not a kind of address that is read: {short(text)}")
    return from_path(given, text, base)


def from_path(given: Any, text: str, base: Place | None) -> Image:
    if not text:
        raise MediaError("empty", "the path of the image is empty")
    if base is None or isinstance(base, RemotePath):
        if not os.path.isabs(text):  # noqa: PTH117 - pathlib is ten times as slow
            raise MediaError(
                "relative", f"{short(text)} is a relative path: set `image_base_path` on the input"
            )
        path = text
    else:
        path = below(text, base)
    try:
        state = check(path, text)
    except MediaError as error:
        if error.kind != "missing" or (found := member(path)) is None:
            raise
        return Image(given=given, path=found[0], member=found[1])
    return Image(given=given, path=path, state=state)


def member(path: str) -> tuple[str, Callable[[], bytes]] | None:
    from mirage.media.archives import inside

    return inside(path)


def is_url(text: str) -> bool:
    return text[:7].lower() == "http://" or text[:8].lower() == "https://"


def below(text: str, base: Path) -> str:
    """The real path of a file under `base`, after every `..` and symbolic link."""
    root = resolved(base)
    try:
        path = real(os.path.join(root, text))  # noqa: PTH118 - as above
    except (OSError, ValueError):
        raise MediaError("missing", f"not a path: {short(text)}") from None
    if not path.startswith(root.rstrip("/") + "/"):
        raise MediaError("outside", f"{short(text)} leads out of {base}")
    return path


def real(path: str) -> str:
    """As `os.path.realpath`, which looks at every folder of a path: those are remembered here."""
    folder, name = os.path.split(path)
    if name in ("", ".", "..") or os.path.islink(path):  # noqa: PTH114 - as above
        return os.path.realpath(path)
    return f"{real_folder(folder).rstrip('/')}/{name}"


@lru_cache(maxsize=4096)
def real_folder(path: str) -> str:
    return os.path.realpath(path)


@lru_cache(maxsize=64)
def resolved(base: Path) -> str:
    return os.path.realpath(base)


def check(path: str, text: str) -> tuple[int, int]:
    """Size in bytes and mtime in ns of a path, if it is a regular file with something in it."""
    try:
        state = os.stat(path)  # noqa: PTH116 - as above
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise MediaError("missing", f"no such file: {short(text)}") from None
    except OSError as exc:
        raise MediaError("missing", f"{exc.strerror}: {short(text)}") from None
    if not stat.S_ISREG(state.st_mode):
        raise MediaError("file", f"not a regular file: {short(text)}")
    if not state.st_size:
        raise MediaError("empty", f"the file is empty: {short(text)}")
    return state.st_size, state.st_mtime_ns


def file_state(image: Image) -> tuple[str, int, int] | None:
    """Path, size in bytes and mtime in ns of the file, or archive, that an image lives in, as it
    was located; None for others, such as one in a store, be that several files or behind a URL.
    """
    if image.path is None:
        return None
    if image.member is not None and (is_remote(image.path) or Path(image.path).is_dir()):
        return None
    return image.path, *(image.state or check(image.path, image.path))


def decode(url: str) -> bytes:
    """The bytes of a base64 data URL (RFC 2397); blanks and missing padding are forgiven, as in
    the WHATWG Fetch Standard.
    """
    head, comma, body = url.partition(",")
    if not comma or not head.rstrip().lower().endswith(";base64"):
        raise MediaError("broken", f"not a base64 data URL: {short(url)}")
    data = unquote_to_bytes(body) if "%" in body else body.encode("ascii", "replace")
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        data = b"".join(data.split())
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except binascii.Error as exc:
        raise MediaError("broken", f"a data URL that does not decode: {exc}") from None


def encode(image: Any) -> bytes:
    """A PIL image as PNG, equal in pixels and without its metadata.

    PNG has no floats, no CMYK, no 32-bit integers: such an image becomes a TIFF instead.
    """
    if image.mode not in PNG_MODES | TIFF_MODES:
        raise MediaError("type", f"no file holds a PIL image of mode {image.mode} without loss")
    with boundary(MediaError, "broken"):
        bare = image.copy()
        bare.info = {k: v for k, v in image.info.items() if k == "transparency"}
        buffer = io.BytesIO()
        if bare.mode in PNG_MODES:
            bare.save(buffer, "PNG")
        else:
            bare.save(buffer, "TIFF", compression="tiff_lzw")
        return buffer.getvalue()


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
