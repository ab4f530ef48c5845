"""A picture as the model gets it: what llama.cpp does for projectors of the type "mlp"."""

from __future__ import annotations

import math

import numpy as np
from drawings import SIDE
from numpy.typing import NDArray
from PIL import Image

GREY = (122, 116, 104)
PATCH = 16
GRID = SIDE // PATCH


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """128 pixels square, the longer side filled, the rest grey; (128, 128, 3)."""
    if image.size != (SIDE, SIDE):
        scale = np.float32(SIDE) / np.float32(max(image.size))  # in single precision, as there
        width, height = (min(SIDE, math.ceil(np.float32(side) * scale)) for side in image.size)
        small = image.resize((width, height), Image.Resampling.BICUBIC)
        image = Image.new("RGB", (SIDE, SIDE), GREY)
        image.paste(small, offset((width, height)))
    return np.asarray(image, dtype=np.uint8)


def offset(size: tuple[int, int]) -> tuple[int, int]:
    """Where a picture of this size stands on the grey."""
    return (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
