"""A picture as pixels, for models in this process."""

from __future__ import annotations

import io

from PIL import Image, ImageOps

from mirage.errors import EngineError, boundary
from mirage.record import Picture


def upright(picture: Picture) -> Image.Image:
    """The picture's pixels, turned as its EXIF says. Raises EngineError for what is no image."""
    with boundary(EngineError, "image"):
        image = Image.open(io.BytesIO(picture.data))
        return ImageOps.exif_transpose(image).convert("RGB")
