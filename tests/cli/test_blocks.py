"""Pictures in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mirage.cli.blocks import blocks


def test_each_character_is_two_pixels(tmp_path: Path) -> None:
    """The upper pixel is the character's colour, the lower one its background."""
    image = Image.new("RGB", (2, 2), "red")
    image.putpixel((0, 1), (0, 0, 255))
    image.save(tmp_path / "a.png")
    shown = blocks(tmp_path / "a.png", 2)
    assert shown.plain == "▀▀\n"
    assert [str(span.style) for span in shown.spans] == ["#ff0000 on #0000ff", "#ff0000 on #ff0000"]


@pytest.mark.parametrize("size", [(300, 200), (20, 90), (1, 1), (500, 1)])
def test_the_longer_side_fills_the_columns(tmp_path: Path, size: tuple[int, int]) -> None:
    """Whatever its size, a picture is at most so wide, and half as many lines high."""
    Image.new("L", size).save(tmp_path / "a.png")
    lines = blocks(tmp_path / "a.png", 20).plain.splitlines()
    assert max(len(lines[0]), 2 * len(lines)) == 20
    assert len({len(line) for line in lines}) == 1
