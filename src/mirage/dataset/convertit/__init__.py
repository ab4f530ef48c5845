"""Convert-It: the images of known datasets, as they are distributed, into a store.

    frame.py        what a source gives, and how files are listed
    llava.py, change.py, scenes.py, shows.py, stories.py, films.py     the sources, by family
    decoding.py     a video second by second
    objects.py      the elements of a large JSON file
    conversion.py   pictures made ready and stored

Sources are named as in the Convert-It of Otter, and make the keys of MIMIC-IT:
`{SHORT}_IMG_{tail}`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from mirage.names import suggest

if TYPE_CHECKING:
    from mirage.dataset.conversion import Conversion, Progress
    from mirage.dataset.convertit.frame import Family

PREFIX = "convert-it:"
STORE = "image-store"
KEPT = "runs/fetched"
"""The folder, below the current one, that keeps what was fetched: as `run.fetch.cache`."""


def families() -> dict[str, Family]:
    """All sources by name."""
    from mirage.dataset.convertit import change, films, llava, scenes, shows, stories

    return {
        "2d.Llava": llava.LLAVA,
        "change.SpotTheDifference": change.SPOT_THE_DIFFERENCE,
        "change.CocoGeneralDifference": change.COCO_GENERAL_DIFFERENCE,
        "3d.SceneNavigation": scenes.SCENE_NAVIGATION,
        "fpv.EGO4D": films.EGO4D,
        "video.DenseCaptions": films.DENSE_CAPTIONS,
        "video.TVCaptions": shows.TV_CAPTIONS,
        "video.VisualStoryTelling": stories.VISUAL_STORY_TELLING,
    }


class Wanted(Struct, frozen=True):
    """What may be said besides: the target's format, the folder of the pictures where that is
    another, whether pictures that are URLs are fetched, and the side of the squares, in pixels,
    that all become.
    """

    to: str | None = None
    images: Path | None = None
    fetch: bool = False
    resize: int | None = None


def convert(
    format: str, path: Path, target: Path, wanted: Wanted, progress: Progress
) -> Conversion:
    """Write the pictures of the source `format` (`convert-it:NAME`) at `path` into a store.

    Raises ValueError for what cannot be meant; see `conversion.convert`.
    """
    from mirage.dataset.convertit import conversion
    from mirage.dataset.convertit.frame import Where
    from mirage.media.fetch import Limits
    from mirage.media.web import Web

    known = families()
    name = format.removeprefix(PREFIX)
    if name not in known:
        names = ", ".join(PREFIX + each for each in known)
        raise ValueError(f"{format} is none of {names}{suggest(name, known)}")
    if wanted.to not in (None, STORE):
        raise ValueError(f"{format} gives images without text: they are written as {STORE}")
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    web = Web(Path(KEPT).absolute(), Limits()) if wanted.fetch else None
    where = Where(path, wanted.images, web)
    done = conversion.convert(known[name], where, target, resize=wanted.resize, progress=progress)
    done.source = format
    return done
