"""From pictures in files to a store of images: read by several threads, written in order.

No more than a few pictures are in memory at a time.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mirage import atomic
from mirage.dataset.conversion import Conversion, Progress
from mirage.dataset.convertit.frame import Family, Frame, Where
from mirage.dataset.refusals import Refusals, settled
from mirage.errors import MediaError, RecordError, boundary
from mirage.media import guard
from mirage.media.picture import eight_bit, encode
from mirage.store import StoreWriter

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

QUALITY = 95
"""Of a frame as JPEG. It has been through a lossy codec before: PNG would be five to ten times as
large, and no truer to what was filmed.
"""
THREADS = min(8, os.cpu_count() or 1)
FETCHING = 8
"""How many pictures are fetched at once, as `run.fetch.per_host`."""
STEP = 1_000
"""How many pictures are done between two reports of progress."""


def convert(
    family: Family, where: Where, target: Path, *, resize: int | None, progress: Progress
) -> Conversion:
    """Write the pictures of a source into the store at `target`; with `resize`, as squares of that
    many pixels, in PNG.

    A picture that cannot be read, or whose key is taken, is listed in `<target>.failed.jsonl`.
    Raises ValueError where the source is none, RunError where something else is in the way.
    """
    done = Conversion("", "image-store")
    ready = partial(prepared, resize=resize)
    threads = max(THREADS, FETCHING) if where.web else THREADS
    with atomic.workspace(target.parent) as room:
        listed = room / "failed.jsonl"
        with listed.open("wb") as failures, StoreWriter(target) as store:
            refusals = Refusals(failures, done.causes)
            for frame, found in in_order(family.frames(where), ready, threads):
                done.read += 1
                try:
                    if isinstance(found, RecordError):
                        raise found
                    store.add(f"{family.short}_IMG_{frame.tail}", found, frame.place)
                    done.written += 1
                except RecordError as error:
                    refusals.add(frame.place, error)
                if done.read % STEP == 0:
                    progress(done.read)
            if not done.read:
                raise ValueError(f"{where.path} holds nothing that this source is made of")
        done.failures = settled(listed, done.causes, target)
    return done


def in_order(
    frames: Iterable[Frame], ready: Callable[[Frame], bytes | RecordError], threads: int
) -> Iterator[tuple[Frame, bytes | RecordError]]:
    """Every frame and what became of it, made ready by several threads, a few ahead."""
    ahead: deque[tuple[Frame, Future[bytes | RecordError]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for frame in frames:
                ahead.append((frame, pool.submit(ready, frame)))
                if len(ahead) > 2 * threads:
                    first, made = ahead.popleft()
                    yield first, made.result()
            while ahead:
                first, made = ahead.popleft()
                yield first, made.result()
        finally:
            pool.shutdown(cancel_futures=True)


def prepared(frame: Frame, resize: int | None) -> bytes | RecordError:
    """The bytes that are stored for a frame: those of its file, whole and decodable."""
    try:
        with boundary(MediaError, "unreadable"):
            found = frame.read()
        if isinstance(found, bytes):
            return whole(found) if resize is None else resized(found, resize)
        return encode(found, QUALITY) if resize is None else square(found, resize)
    except RecordError as error:
        return error


def whole(data: bytes) -> bytes:
    """The same bytes, decoded once to their end: a JPEG at an eighth of its size, which reads all
    of it and computes little.
    """
    from PIL import Image

    guard(data)
    with boundary(MediaError, "broken"), Image.open(io.BytesIO(data)) as picture:
        picture.draft(None, (1, 1))
        picture.load()
    return data


def resized(data: bytes, size: int) -> bytes:
    from PIL import Image

    guard(data)
    with boundary(MediaError, "broken"), Image.open(io.BytesIO(data)) as picture:
        return square(eight_bit(picture), size)


def square(picture: Pixels, size: int) -> bytes:
    """As Convert-It stored it: in RGB, as large as that whatever its shape, Lanczos, PNG."""
    from PIL.Image import Resampling

    return encode(picture.convert("RGB").resize((size, size), Resampling.LANCZOS), 0)
