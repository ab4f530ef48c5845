"""What each of the 64 patches of a drawing shows: the labels that the eyes are first trained on.

A drawing gives them for free. The heads that read them are thrown away after the training.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from drawings import COLOURS, LETTERS, SHAPES, SIDE, Drawing, Pen
from numpy.typing import NDArray
from padding import GRID, PATCH, offset
from PIL import Image, ImageDraw

BAR, LABEL, STRANGE = 5, 6, 7
UNASKED = -100
LEAST = 8
# kind of thing, colour, place, size, letter, whether it is the tallest bar
CLASSES = (8, 1 + len(COLOURS), 9 + 5, 2, len(LETTERS), 2)
COUNTS = 4 + 4 + 1
_COLOURS = list(COLOURS)
Values = tuple[int, int, int, int, int, int]


class Labels:
    """A grid of labels, filled thing by thing: the one that covers most of a patch names it."""

    def __init__(self, drawing: Drawing) -> None:
        start = (0, 0, *[UNASKED] * 4)
        self.grid: NDArray[np.int64] = np.tile(np.array(start), (GRID, GRID, 1))
        self.most = np.full((GRID, GRID), LEAST)
        self.shift = offset((round(drawing.width), round(drawing.height)))

    def mark(self, paint: Callable[[Pen], None], values: Values) -> None:
        """Label the patches that `paint` covers."""
        mask = Image.new("L", (SIDE, SIDE))
        paint(ImageDraw.Draw(mask))
        shifted = Image.new("L", (SIDE, SIDE))
        shifted.paste(mask, self.shift)
        covered = np.asarray(shifted).reshape(GRID, PATCH, GRID, PATCH).sum((1, 3))
        best = covered > self.most
        self.most[best] = covered[best]
        self.grid[best] = values


def patch_labels(drawing: Drawing) -> NDArray[np.int64]:
    """Six labels for each patch, (64, 6)."""
    labels = Labels(drawing)
    for shape in drawing.shapes:
        kind, colour = 1 + SHAPES.index(shape.kind), 1 + _COLOURS.index(shape.colour)
        values = (kind, colour, shape.place, int(shape.large), UNASKED, UNASKED)
        labels.mark(lambda pen, shape=shape: shape.draw(pen, 1.0, 1), values)  # type: ignore[misc]
    for index, bar in enumerate(drawing.bars):
        rest = (1 + _COLOURS.index(bar.colour), 9 + index, UNASKED)
        told = (LETTERS.index(bar.label), int(bar.tallest))
        half = 0.4 * drawing.letter
        below = drawing.base + 0.7 * drawing.letter
        body = [bar.left, bar.top, bar.right, drawing.base]
        label = [bar.middle - half, below - half, bar.middle + half, below + half]
        for box, kind in ((body, BAR), (label, LABEL)):
            labels.mark(lambda pen, box=box: pen.rectangle(box, fill=1), (kind, *rest, *told))  # type: ignore[misc]
    return labels.grid.reshape(-1, len(CLASSES))


def strange_labels(empty: bool) -> NDArray[np.int64]:
    """The labels of a picture that shows nothing known: background, or something strange."""
    row = (0 if empty else STRANGE, 0, *[UNASKED] * 4)
    return np.tile(np.array(row), (GRID * GRID, 1))


def count_label(drawing: Drawing | None) -> int:
    """How many of what: 1 to 4 shapes, 2 to 5 bars, or nothing known."""
    if drawing is None:
        return COUNTS - 1
    return len(drawing.bars) + 2 if drawing.bars else len(drawing.shapes) - 1
