"""Images whose value is a URL: fetched once, and kept in a folder under the hash of that URL.

Such an image is, from the start, the file that it will be in the cache; `fetch` makes sure, before
a record's first step, that the file is there. Assembly, a retry and a resumed run find it.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from mirage import atomic
from mirage.errors import MediaError
from mirage.media.fetch import DeadError, Fetcher, Limits, PassingError, shown
from mirage.media.guard import guard
from mirage.media.locate import is_url
from mirage.record import Image

Dead = Literal["fail", "drop", "none"]

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
LOOK = 0.25
TAG = ".dead"


class Web:
    """What is fetched, and what is kept of it.

    The images stand in 4,096 folders of `cache`. A file there is whole: it is synced and renamed
    into place, so that two processes that fetch the same image do no harm. `dead` says what
    becomes of an image that its server says does not exist (HTTP 404 or 410): that is remembered,
    too.
    """

    def __init__(
        self, cache: Path, limits: Limits, *, dead: Dead = "fail", per_host: int = 8
    ) -> None:
        self.cache = os.path.realpath(cache)
        self.dead = dead
        self.per_host = per_host
        self.limits = limits
        self._fetcher = Fetcher(limits)

    def image(self, given: Any, url: str) -> Image | None:
        """The image of a URL, fetched or not; None for a dead one where `dead` is "none"."""
        path = self.place(url)
        if self.dead == "none" and not filled(path) and os.path.exists(path + TAG):  # noqa: PTH110
            return None
        return Image(given=given, path=path)

    def place(self, url: str) -> str:
        """The file that an image has, or will have."""
        name = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.cache}/{name[:3]}/{name}"

    def fetch(self, url: str, ask_leave: Callable[[], None] = lambda: None) -> None:
        """See to it that the image is here. Raises MediaError: those of `Fetcher.get` and `guard`,
        DeadError also where that is known from before. `ask_leave` raises where trying again has
        no point any more.
        """
        path = self.place(url)
        if filled(path):
            return
        mark = Path(path + TAG)
        if mark.exists():
            raise DeadError("dead", f"{known(mark)}; remembered in {mark}")
        try:
            data = self._patiently(url, ask_leave)
        except DeadError as dead:
            note = {"url": url, "said": dead.message, "time": round(time.time())}
            keep(mark, orjson.dumps(note, default=repr))
            raise
        keep(Path(path), data)

    def _patiently(self, url: str, ask_leave: Callable[[], None]) -> bytes:
        """The bytes of a whole image; what may pass is tried again, after a pause."""
        for attempt in range(self.limits.retries + 1):
            try:
                return self._whole(url)
            except PassingError as fault:
                last = fault
            pause = last.retry_after or FIRST_PAUSE * 2**attempt * random.uniform(1, 2)
            if attempt == self.limits.retries or pause > LONGEST_PAUSE:
                break
            wait(pause, ask_leave)
        last.attempts = attempt + 1
        raise last

    def _whole(self, url: str) -> bytes:
        data = self._fetcher.get(url)
        try:
            guard(data)
        except MediaError as wrong:
            kind = PassingError if wrong.kind == "truncated" else MediaError
            raise kind(wrong.kind, f"{wrong.message}: {shown(url)}") from None
        return data


def keep(target: Path, data: bytes) -> None:
    """Put a file in its place, whole. That it is there may be lost with the power, half of it may
    not stay: the file is synced, the folder is not.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = atomic.beside(target)
    try:
        temporary.write_bytes(data)
        atomic.sync(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def wait(seconds: float, ask_leave: Callable[[], None]) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        ask_leave()
        time.sleep(min(left, LOOK))


def host(url: str) -> str:
    """The server of a URL, as connections to it are counted."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def url_of(image: Image) -> str | None:
    """The URL that an image stands for; None for any other image."""
    if image.path is None or image.member is not None:
        return None
    name = image.name
    return name if name is not None and is_url(name) else None


def filled(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0  # noqa: PTH116 - a tenth of the cost of Path.stat
    except OSError:
        return False


def known(mark: Path) -> str:
    """What the server said, as far as it can be read."""
    try:
        return str(orjson.loads(mark.read_bytes())["said"])
    except (OSError, ValueError, KeyError, TypeError):
        return "the image does not exist"
