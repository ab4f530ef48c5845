"""2d.Llava: the pictures of COCO that a JSON file names by its keys, `{root}/{stem}.jpg`."""

from __future__ import annotations

from collections.abc import Iterator

from mirage.dataset.convertit.frame import Family, Frame, Where, missing
from mirage.dataset.convertit.objects import TornError, elements, mapped
from mirage.errors import MediaError
from mirage.media.locate import from_path


def llava(where: Where) -> Iterator[Frame]:
    """The root is the folder of the JSON file, unless another is given; no key leads out of it."""
    root = where.images or where.path.parent
    with mapped(where.path) as text:
        try:
            for key, _, _ in elements(text):
                if not key:
                    raise ValueError(f"{where.path} is no object whose keys are names of pictures")
                name = f"{key}.jpg"
                try:
                    image = from_path(name, name, root)
                except MediaError as error:
                    yield missing(name, error)
                else:
                    yield Frame(name, key, image.read)
        except TornError as torn:
            yield missing(where.path.name, MediaError("torn", str(torn)))


LLAVA = Family("LA", llava)
