"""Images in a store, below a folder of it: located by their names alone, read when they are needed.

Nothing is asked of the store before that: an image that is not there fails its record when it is
read. It cannot be noticed that an object was replaced under the same name.
"""

from __future__ import annotations

import posixpath
import time
from functools import partial
from typing import Any
from urllib.parse import quote

from mirage.errors import MediaError
from mirage.places import RemotePath, is_remote
from mirage.places.opening import WEB
from mirage.record import Image

MAX_BYTES = 1 << 29
RETRIES = 2
"""Of the web; the libraries of other stores try again by themselves."""
PAUSE = 0.5


def image_below(given: Any, text: str, base: RemotePath) -> Image:
    """The image that a name means. Raises MediaError "outside" for one that leads out of `base`."""
    path = below(text, base)
    return Image(given=given, path=str(path), member=partial(read, path))


def below(text: str, base: RemotePath) -> RemotePath:
    start = f"{base}".rstrip("/") + "/"
    name = text.removeprefix(start)
    plain = posixpath.normpath(name)
    if is_remote(name) or plain.startswith(("/", "../")) or plain in ("..", ".") or "\0" in plain:
        raise MediaError("outside", f"{text!r:.120} is no name below {base}")
    return base / (quote(plain) if base.scheme in WEB else plain)


def read(path: RemotePath) -> bytes:
    """The bytes of an image. Raises MediaError: "missing", "denied", "unreadable", "empty", "bomb".
    What may pass is tried again; every request ends after a while.
    """
    data, size = b"", 0
    for left in range(RETRIES if path.scheme in WEB else 0, -1, -1):
        try:
            with path.raw() as file:
                size = file.size
                data = (file.read(size) or b"") if size <= MAX_BYTES else b""
            if len(data) < size <= MAX_BYTES:
                raise OSError(f"{path}: only {len(data):,} of {size:,} bytes came")
            break
        except FileNotFoundError as exc:
            raise MediaError("missing", str(exc)) from None
        except PermissionError as exc:
            raise MediaError("denied", str(exc)) from None
        except OSError as exc:
            if not left:
                raise MediaError("unreadable", str(exc)) from None
            time.sleep(PAUSE)
    if not size:
        raise MediaError("empty", f"{path} is empty")
    if size > MAX_BYTES:
        raise MediaError("bomb", f"{path} has {size:,} bytes; the limit is {MAX_BYTES:,}")
    return data
