"""video.VisualStoryTelling: the pictures of a VIST file, from a folder or from where they are."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from mirage.dataset.convertit.frame import Family, Frame, Where, missing
from mirage.dataset.convertit.objects import TornError, elements, mapped
from mirage.errors import MediaError
from mirage.media.locate import from_path
from mirage.media.web import Web
from mirage.sources.find import IMAGES

URLS = ("url_o", "url_m")
"""The picture as it was put online, and a copy of middling size."""


def stories(where: Where) -> Iterator[Frame]:
    """The entries of `images`, in order: `{id}.jpg` (or another image) in the folder that is given,
    otherwise what stands at its URL.
    """
    if where.images is None and where.web is None:
        raise ValueError(
            f"the pictures of {where.path.name} are addresses: name the folder that has them, as "
            "ID.jpg, with --image-base-path, or have them fetched with --fetch"
        )
    with mapped(where.path) as text:
        try:
            for start, stop in listed(text, where.path):
                yield picture(text[start:stop], start, where)
        except TornError as torn:
            yield missing(where.path.name, MediaError("torn", str(torn)))


def listed(text: mmap.mmap, path: Path) -> Iterator[tuple[int, int]]:
    for key, start, _ in elements(text):
        if key == "images":
            return ((begin, stop) for _, begin, stop in elements(text, start))
    raise ValueError(f"{path} has no list `images`: it is no file of VIST")


def picture(raw: bytes, at: int, where: Where) -> Frame:
    place = f"{where.path.name}#{at}"
    try:
        entry = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        return missing(place, MediaError("malformed", f"not JSON: {exc}"))
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str | int):
        return missing(place, MediaError("malformed", "an image without an id"))
    name = str(entry["id"])
    try:
        return Frame(f"{place} {name}", name, found(name, entry, where))
    except MediaError as error:
        return missing(f"{place} {name}", error)


def found(name: str, entry: Mapping[str, Any], where: Where) -> Any:
    """How the bytes of a picture are read."""
    if where.images is not None:
        for suffix in (".jpg", *sorted(IMAGES - {".jpg"})):
            if (where.images / (name + suffix)).is_file():
                return from_path(name, name + suffix, where.images).read
        if where.web is None:
            raise MediaError("missing", f"no {name}.jpg, nor another image of that name")
    url = next((entry[key] for key in URLS if isinstance(entry.get(key), str)), None)
    if url is None or where.web is None:
        raise MediaError("missing", f"neither {' nor '.join(URLS)}")
    return partial(fetched, url, where.web)


def fetched(url: str, web: Web) -> bytes:
    web.fetch(url)
    return Path(web.place(url)).read_bytes()


VISUAL_STORY_TELLING = Family("VST", stories)
