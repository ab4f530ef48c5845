"""Drawings as plain data: one to four coloured shapes on a grid of nine places, or a bar chart.

Lengths are in units of which the longer side of the canvas has 128, as the model sees it; `render`
draws at any size. Everything is drawn from a random generator, so that a seed is a drawing.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from functools import cache

from PIL import Image, ImageDraw, ImageFont

SIDE = 128
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (240, 215, 50),
    "purple": (140, 60, 180),
    "orange": (245, 140, 30),
    "black": (30, 30, 30),
}
SHAPES = ("circle", "square", "triangle", "star")
PLACES = ("top left", "top", "top right", "left", "center", "right")
PLACES += ("bottom left", "bottom", "bottom right")
LETTERS = "ABCDEFGH"
WIDEST = 3 / 2
Colour = tuple[int, int, int]
Pen = ImageDraw.ImageDraw


@dataclass(frozen=True)
class Shape:
    """A shape around (x, y); `radius` is about half its width."""

    kind: str
    colour: str
    rgb: Colour
    large: bool
    place: int
    x: float
    y: float
    radius: float

    def draw(self, pen: Pen, scale: float, fill: Colour | int) -> None:
        """Fill the shape."""
        x, y, r = self.x * scale, self.y * scale, self.radius * scale
        if self.kind == "circle":
            pen.ellipse([x - r, y - r, x + r, y + r], fill=fill)
        elif self.kind == "square":
            half = r * 0.86
            pen.rectangle([x - half, y - half, x + half, y + half], fill=fill)
        elif self.kind == "triangle":
            pen.polygon(corners(x, y + r * 0.15, [r] * 3), fill=fill)
        else:
            pen.polygon(corners(x, y, [r, r * 0.42] * 5), fill=fill)


@dataclass(frozen=True)
class Bar:
    """A bar of a chart, from `top` down to the base line."""

    label: str
    colour: str
    rgb: Colour
    left: float
    right: float
    top: float
    tallest: bool

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2


@dataclass(frozen=True)
class Drawing:
    """A canvas with shapes, or with bars on a base line."""

    width: float
    height: float
    background: Colour
    shapes: tuple[Shape, ...] = ()
    bars: tuple[Bar, ...] = ()
    base: float = 0.0
    letter: float = field(default=0.0)
    axis: bool = False

    def render(self, pixels: int) -> Image.Image:
        """The picture, its longer side so many pixels."""
        scale = pixels / SIDE
        size = (max(1, round(self.width * scale)), max(1, round(self.height * scale)))
        image = Image.new("RGB", size, self.background)
        pen = ImageDraw.Draw(image)
        for shape in self.shapes:
            shape.draw(pen, scale, shape.rgb)
        if self.bars:
            self._draw_chart(pen, scale)
        return image

    def _draw_chart(self, pen: Pen, scale: float) -> None:
        for bar in self.bars:
            box = [bar.left * scale, bar.top * scale, bar.right * scale, self.base * scale]
            pen.rectangle(box, fill=bar.rgb)
            at = (bar.middle * scale, (self.base + 0.7 * self.letter) * scale)
            letters = font(max(6, round(self.letter * scale)))
            pen.text(at, bar.label, fill=(20, 20, 20), font=letters, anchor="mm")
        line = max(1, round(scale))
        left, right = 0.06 * self.width * scale, 0.95 * self.width * scale
        pen.line([left, self.base * scale, right, self.base * scale], (60, 60, 60), line)
        if self.axis:
            top = 0.06 * self.height * scale
            pen.line([left, top, left, self.base * scale], (60, 60, 60), line)


def corners(x: float, y: float, radii: list[float]) -> list[tuple[float, float]]:
    """Corners all around (x, y), the first one at the top."""
    turn = 2 * math.pi / len(radii)
    return [(x + r * math.sin(turn * i), y - r * math.cos(turn * i)) for i, r in enumerate(radii)]


@cache
def font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size=pixels)


def varied(rng: random.Random, colour: str) -> Colour:
    """A colour, not always quite the same."""
    red, green, blue = (max(0, min(255, value + rng.randint(-14, 14))) for value in COLOURS[colour])
    return red, green, blue


def paper(rng: random.Random) -> Colour:
    """A light background, mostly grey."""
    grey = rng.randint(236, 255)
    if rng.random() < 0.7:
        return grey, grey, grey
    return rng.randint(232, 255), rng.randint(232, 255), rng.randint(232, 255)


def canvas(rng: random.Random) -> tuple[float, float]:
    """Width and height: square, or up to half as long again as the other side."""
    aspect = 1.0 if rng.random() < 0.4 else rng.uniform(1.0, WIDEST)
    return (SIDE, SIDE / aspect) if rng.random() < 0.5 else (SIDE / aspect, SIDE)


def place_shape(rng: random.Random, size: tuple[float, float], place: int) -> Shape:
    """A shape somewhere within its cell of the grid."""
    wide, high = size[0] / 3, size[1] / 3
    large = rng.random() < 0.5
    radius = min(wide, high) * (rng.uniform(0.39, 0.47) if large else rng.uniform(0.19, 0.26))
    kind, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
    across, down = (max(0.0, 0.53 * side - radius) for side in (wide, high))
    return Shape(
        kind,
        colour,
        varied(rng, colour),
        large,
        place,
        wide * (place % 3 + 0.5) + rng.uniform(-across, across),
        high * (place // 3 + 0.5) + rng.uniform(-down, down),
        radius,
    )


def draw_shapes(rng: random.Random) -> Drawing:
    """One to four shapes, each in a cell of its own."""
    size = canvas(rng)
    places = sorted(rng.sample(range(9), rng.randint(1, 4)))
    shapes = tuple(place_shape(rng, size, place) for place in places)
    return Drawing(*size, paper(rng), shapes)


def draw_chart(rng: random.Random) -> Drawing:
    """Two to five bars with letters below; one is clearly the tallest."""
    width, height = canvas(rng)
    count = rng.randint(2, 5)
    labels = LETTERS[:count] if rng.random() < 0.3 else "".join(rng.sample(LETTERS, count))
    base = height * rng.uniform(0.78, 0.82)
    left, right = width * rng.uniform(0.05, 0.1), width * rng.uniform(0.92, 0.97)
    highest = base * rng.uniform(0.55, 0.88)
    lead = 0.09 * height
    tallest = rng.randrange(count)
    one = rng.choice(list(COLOURS)) if rng.random() < 0.4 else ""
    step = (right - left) / count
    half = min(step * rng.uniform(0.25, 0.36), 0.095 * width)
    bars = []
    for index, label in enumerate(labels):
        colour = one or rng.choice(list(COLOURS))
        tall = highest if index == tallest else rng.uniform(0.1 * height, highest - lead)
        middle = left + step * (index + 0.5)
        sides = (middle - half, middle + half, base - tall, index == tallest)
        bars.append(Bar(label, colour, varied(rng, colour), *sides))
    letter = min(width, height) * rng.uniform(0.125, 0.145)
    axis = rng.random() < 0.8
    return Drawing(width, height, paper(rng), bars=tuple(bars), base=base, letter=letter, axis=axis)
