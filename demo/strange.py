"""Pictures that the model shall not know: blank pages, noise, other shapes, other charts.

Some kinds are never trained on (`held_out`): they show whether "Nothing I know." was understood.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
from drawings import COLOURS, SIDE, Pen, canvas, corners, font, paper, varied
from PIL import Image, ImageDraw

Size = tuple[int, int]
Spot = tuple[float, float, float]
Colour = tuple[int, int, int]


def any_colour(rng: random.Random) -> Colour:
    """Any colour at all."""
    return rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255)


# -- pages without a thing on them ---------------------------------------------------------------


def blank(rng: random.Random, size: Size) -> Image.Image:
    """One colour."""
    kinds = (paper(rng), any_colour(rng), (122, 116, 104), (255, 255, 255), (0, 0, 0))
    return Image.new("RGB", size, rng.choice(kinds))


def gradient(rng: random.Random, size: Size) -> Image.Image:
    """One colour becomes another one."""
    first, second = np.array(any_colour(rng)), np.array(any_colour(rng))
    across, down = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    turn = rng.uniform(0, math.pi)
    share = across * math.cos(turn) + down * math.sin(turn)
    share = ((share - share.min()) / max(1e-6, np.ptp(share)))[..., None]
    return Image.fromarray((first * (1 - share) + second * share).astype(np.uint8))


def noise(rng: random.Random, size: Size) -> Image.Image:
    """Random pixels, or random blocks, coloured or grey."""
    grain = rng.choice((1, 1, 2, 4, 8, 16))
    wide, high = (max(2, side // grain) for side in size)
    values = np.random.default_rng(rng.getrandbits(32))
    low, top = sorted((rng.randint(0, 200), rng.randint(56, 255)))
    shape = (high, wide, rng.choice((1, 3)))
    field = np.broadcast_to(values.integers(low, top + 30, shape), (high, wide, 3))
    picture = Image.fromarray(field.clip(0, 255).astype(np.uint8))
    smooth = rng.random() < 0.3
    return picture.resize(size, Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST)


def speckled(rng: random.Random, size: Size) -> Image.Image:
    """Black and white dots."""
    values = np.random.default_rng(rng.getrandbits(32))
    dots = values.random((size[1], size[0])) < rng.uniform(0.05, 0.5)
    return Image.fromarray((~dots * 255).astype(np.uint8)).convert("RGB")


# -- shapes that have no name here ---------------------------------------------------------------


def _cross(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    pen.rectangle([x - r, y - r / 3, x + r, y + r / 3], fill=fill)
    pen.rectangle([x - r / 3, y - r, x + r / 3, y + r], fill=fill)


def _ring(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    pen.ellipse([x - r, y - r, x + r, y + r], outline=fill, width=max(2, round(r * 0.25)))


def _frame(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    pen.rectangle([x - r, y - r, x + r, y + r], outline=fill, width=max(2, round(r * 0.25)))


def _arrow(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    pen.rectangle([x - r, y - r * 0.2, x, y + r * 0.2], fill=fill)
    pen.polygon([(x, y - r * 0.7), (x + r, y), (x, y + r * 0.7)], fill=fill)


def _heart(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    points = []
    for step in range(40):
        t = math.pi * step / 20
        across = 16 * math.sin(t) ** 3
        up = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x + r * across / 16, y - r * up / 16))
    pen.polygon(points, fill=fill)


def _hourglass(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    pen.polygon([(x - r, y - r), (x + r, y - r), (x - r, y + r), (x + r, y + r)], fill=fill)


def _line(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    pen.line([x - r, y - r * 0.8, x + r, y + r * 0.8], fill=fill, width=max(2, round(r * 0.2)))


def _zigzag(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    points = [(x + r * (i - 2) / 2, y + r * (0.6 if i % 2 else -0.6)) for i in range(5)]
    pen.line(points, fill=fill, width=max(2, round(r * 0.2)))


def _letter(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    letter = "MRSWKQZ&?"[round(x * 7 + y * 13) % 9]
    pen.text((x, y), letter, fill=fill, font=font(max(8, round(2 * r))), anchor="mm")


def _bolt(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    steps = ((0.3, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.3, 1), (0.6, -0.2), (0.05, -0.2))
    pen.polygon([(x + r * across, y + r * down) for across, down in steps], fill=fill)


def _angle(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    pen.rectangle([x - r, y - r, x - r * 0.4, y + r], fill=fill)
    pen.rectangle([x - r, y + r * 0.4, x + r, y + r], fill=fill)


def _hollow(pen: Pen, spot: Spot, fill: Colour) -> None:
    x, y, r = spot
    points = corners(x, y, [r] * 3)
    pen.line([*points, *points[:2]], fill=fill, width=max(2, round(r * 0.2)))


SHAPES = (_cross, _ring, _frame, _arrow, _heart, _hourglass, _line, _zigzag, _letter)
HELD_OUT_SHAPES = (_bolt, _angle, _hollow)


def shapes(rng: random.Random, size: Size, known: tuple[Callable[..., None], ...]) -> Image.Image:
    """One to four of these shapes on the grid."""
    picture = Image.new("RGB", size, paper(rng))
    pen = ImageDraw.Draw(picture)
    wide, high = size[0] / 3, size[1] / 3
    one = rng.choice(known) if rng.random() < 0.5 else None
    for place in rng.sample(range(9), rng.randint(1, 4)):
        radius = min(wide, high) * rng.uniform(0.3, 0.47)
        x, y = wide * (place % 3 + 0.5), high * (place // 3 + 0.5)
        spot = (x + rng.uniform(-2, 2), y + rng.uniform(-2, 2), radius)
        (one or rng.choice(known))(pen, spot, varied(rng, rng.choice(list(COLOURS))))
    return picture


# -- other charts --------------------------------------------------------------------------------


def pie(rng: random.Random, size: Size) -> Image.Image:
    """A pie chart."""
    picture = Image.new("RGB", size, paper(rng))
    pen = ImageDraw.Draw(picture)
    radius = min(size) * rng.uniform(0.3, 0.45)
    x, y = size[0] / 2, size[1] / 2
    cuts = sorted(rng.uniform(0, 360) for _ in range(rng.randint(3, 5)))
    names = rng.sample(list(COLOURS), len(cuts))
    for start, stop, name in zip(cuts, [*cuts[1:], cuts[0] + 360], names, strict=True):
        box = [x - radius, y - radius, x + radius, y + radius]
        pen.pieslice(box, start, stop, fill=COLOURS[name])
    return picture


def curve(rng: random.Random, size: Size) -> Image.Image:
    """A line chart."""
    picture = Image.new("RGB", size, paper(rng))
    pen = ImageDraw.Draw(picture)
    wide, high = size
    count = rng.randint(4, 8)
    across = [wide * (0.1 + 0.8 * i / (count - 1)) for i in range(count)]
    points = [(x, high * rng.uniform(0.1, 0.8)) for x in across]
    width = max(1, round(max(size) / 50))
    pen.line(points, fill=COLOURS[rng.choice(list(COLOURS))], width=width)
    pen.line([wide * 0.06, high * 0.85, wide * 0.95, high * 0.85], fill=(60, 60, 60))
    return picture


def scattered(rng: random.Random, size: Size) -> Image.Image:
    """A scatter plot."""
    picture = Image.new("RGB", size, paper(rng))
    pen = ImageDraw.Draw(picture)
    fill = COLOURS[rng.choice(list(COLOURS))]
    dot = max(1.0, max(size) / 60)
    for _ in range(rng.randint(20, 50)):
        x, y = size[0] * rng.uniform(0.1, 0.95), size[1] * rng.uniform(0.05, 0.8)
        pen.ellipse([x - dot, y - dot, x + dot, y + dot], fill=fill)
    pen.line([size[0] * 0.06, size[1] * 0.85, size[0] * 0.95, size[1] * 0.85], fill=(60, 60, 60))
    return picture


# ------------------------------------------------------------------------------------------------


def draw_strange(
    rng: random.Random, pixels: int, held_out: bool = False
) -> tuple[str, Image.Image]:
    """A picture to be declined, and what kind it is; with `held_out` of a kind never trained on."""
    width, height = (max(8, round(side * pixels / SIDE)) for side in canvas(rng))
    size = (width, height)
    if held_out:
        if rng.random() < 0.3:
            return "scattered", scattered(rng, size)
        return "unseen shapes", shapes(rng, size, HELD_OUT_SHAPES)
    chance = rng.random()
    if chance < 0.2:
        return "blank", blank(rng, size)
    if chance < 0.27:
        return "gradient", gradient(rng, size)
    if chance < 0.42:
        return "noise", noise(rng, size)
    if chance < 0.5:
        return "noise", speckled(rng, size)
    if chance < 0.85:
        return "strange shapes", shapes(rng, size, SHAPES)
    return ("pie", pie(rng, size)) if chance < 0.92 else ("curve", curve(rng, size))
