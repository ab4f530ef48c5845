"""A picture in the terminal: each character is two pixels, one above the other."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

HALF = "▀"


def has_colours() -> bool:
    """Whether what is printed is looked at in colours; a picture has no other way to be seen."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def blocks(path: Path, columns: int) -> Text:
    """The picture, its longer side so many columns."""
    from PIL import Image
    from rich.text import Text

    with Image.open(path) as image:
        small = image.convert("RGB")
    scale = columns / max(small.size)
    width, lines = (
        max(1, round(side * scale / part)) for side, part in zip(small.size, (1, 2), strict=True)
    )
    small = small.resize((width, 2 * lines), Image.Resampling.BOX)
    data = small.tobytes()
    pixels = ["#" + data[at : at + 3].hex() for at in range(0, len(data), 3)]
    drawn = Text()
    for start in range(0, len(pixels), 2 * width):
        upper, lower = pixels[start : start + width], pixels[start + width : start + 2 * width]
        for above, below in zip(upper, lower, strict=True):
            drawn.append(HALF, f"{above} on {below}")
        drawn.append("\n")
    return drawn
