"""fpv.EGO4D and video.DenseCaptions: one frame for each second of each video of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from mirage.dataset.convertit.decoding import pixels, seconds
from mirage.dataset.convertit.frame import Family, Frame, Where, files, missing, stem
from mirage.errors import MediaError


def ego4d(where: Where) -> Iterator[Frame]:
    return films(files(where.path), 8)


def dense_captions(where: Where) -> Iterator[Frame]:
    return films([path for path in files(where.path) if path.suffix.lower() == ".mp4"], 4)


def films(paths: list[Path], digits: int) -> Iterator[Frame]:
    """The frames of all videos. Of two whose keys would be the same, the second is left out whole;
    of one that breaks off, what comes before stands. Raises ValueError where PyAV is missing.
    """
    if find_spec("av") is None:
        raise ValueError("videos need PyAV: pip install 'mirage-engine[video]'")
    owners: dict[str, str] = {}
    for path in paths:
        name = stem(path)
        owner = owners.setdefault(name, path.name)
        if owner != path.name:
            message = f"its keys would be those of {owner}"
            yield missing(path.name, MediaError("duplicate", message))
            continue
        try:
            for second, frame in seconds(path):
                place = f"{path.name}@{second}s"
                yield Frame(place, f"{name}_{second:0{digits}}", partial(pixels, frame))
        except MediaError as error:
            yield missing(path.name, error)


EGO4D = Family("E4D", ego4d)
DENSE_CAPTIONS = Family("DC", dense_captions)
