"""What the model that sees is trained on: drawings, captions, padding, and the shipped rows."""

from __future__ import annotations

import importlib
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mirage import recipes

DEMO = Path(__file__).parents[2] / "demo"
SHIPPED = DEMO.parent / "src" / "mirage" / "recipes" / "demo"
sys.path.insert(0, str(DEMO))
captions, drawings, lessons, padding, patches, pictures, strange = (
    importlib.import_module(name)
    for name in ("captions", "drawings", "lessons", "padding", "patches", "pictures", "strange")
)


def test_a_seed_is_a_drawing() -> None:
    """The same seed draws the same picture with the same caption, another one does not."""
    first, same = lessons.held_out(4, 5), lessons.held_out(4, 5)
    other = lessons.held_out(4, 6)
    assert [a.image.tobytes() for a in first] == [b.image.tobytes() for b in same]
    assert [a.answer for a in first] == [b.answer for b in same] != [c.answer for c in other]


def test_every_thing_stands_on_its_canvas() -> None:
    """No shape or bar leaves the picture, and exactly one bar of a chart is clearly the tallest."""
    rng = random.Random(1)
    for _ in range(300):
        drawing = drawings.draw_shapes(rng)
        assert 1 <= len(drawing.shapes) <= 4
        assert len({shape.place for shape in drawing.shapes}) == len(drawing.shapes)
        for shape in drawing.shapes:
            assert shape.x - shape.radius > -4 and shape.x + shape.radius < drawing.width + 4
            assert shape.y - shape.radius > -4 and shape.y + shape.radius < drawing.height + 4
        chart = drawings.draw_chart(rng)
        first, second = sorted(bar.top for bar in chart.bars)[:2]
        assert second - first > 0.05 * chart.height
        assert [bar.tallest for bar in chart.bars].count(True) == 1
        assert min(bar.top for bar in chart.bars) > 0


@pytest.mark.parametrize("size", [(96, 96), (300, 200), (40, 160), (128, 128), (1000, 3)])
def test_pictures_are_padded_with_grey(size: tuple[int, int]) -> None:
    """The longer side is filled, the rest is grey, whatever the size."""
    seen = padding.pixels(Image.new("RGB", size, (0, 0, 255)))
    assert seen.shape == (128, 128, 3)
    blue = (seen == (0, 0, 255)).all(-1)
    assert (blue | (seen == padding.GREY).all(-1)).all()
    assert blue.any(0).sum() == 128 or blue.any(1).sum() == 128


def test_labels_name_what_a_patch_shows() -> None:
    """Each shape and each bar is named in at least one patch, with its colour."""
    for lesson in lessons.held_out(60, 9):
        grid = patches.patch_labels(lesson.drawing)
        kinds = {int(kind) for kind in grid[:, 0]}
        assert grid.shape == (64, 6)
        if lesson.drawing.bars:
            assert {patches.BAR, patches.LABEL} <= kinds
            assert {int(place) for place in grid[grid[:, 0] > 0, 2]} == {
                9 + index for index in range(len(lesson.drawing.bars))
            }
        else:
            assert {int(place) for place in grid[grid[:, 0] > 0, 2]} == {
                shape.place for shape in lesson.drawing.shapes
            }


def test_captions_keep_the_note() -> None:
    """What only the given caption tells ends the new one; of strange pictures nothing is said."""
    note = captions.Note("drawn by", "Ada")
    for lesson in lessons.held_out(10, 3):
        assert captions.enhanced(lesson.drawing, note).endswith(" Drawn by Ada.")
    assert captions.enhanced(None, note) == "Nothing I know."


def test_the_prompt_is_that_of_the_recipe() -> None:
    """The model is asked in training as the shipped configuration asks it."""
    (output,) = recipes.load("demo/captions.yaml")["outputs"]
    wanted = output["prompt"].replace("{original_caption}", "some shapes")
    assert captions.document_prompt("some shapes") == wanted


def test_the_recipe_is_the_documents_third_configuration() -> None:
    """Only the folder of the images is another one."""
    written = (Path(__file__).parents[1] / "config" / "seed" / "caption.yaml").read_text("utf-8")
    shipped = (SHIPPED / "captions.yaml").read_text("utf-8")
    assert shipped == written.replace("image_base_path: /path/to/images", "image_base_path: images")


def test_the_tokens_give_every_text_back() -> None:
    """Encoding and decoding prompt and answer changes nothing."""
    rng = random.Random(2)
    for _ in range(150):
        lesson = lessons.draw_lesson(rng)
        for text in (lesson.prompt, lesson.answer):
            assert captions.TOKENS.decode(captions.TOKENS.encode(text)) == text


@pytest.mark.parametrize("held_out", [False, True])
def test_strange_pictures_come_in_every_kind(held_out: bool) -> None:
    """Kinds that are held out are never drawn for training."""
    rng = random.Random(4)
    kinds = {strange.draw_strange(rng, 64, held_out)[0] for _ in range(200)}
    trained = {"blank", "gradient", "noise", "strange shapes", "pie", "curve"}
    assert kinds == ({"scattered", "unseen shapes"} if held_out else trained)


def test_the_shipped_pictures_are_what_the_script_writes(tmp_path: Path) -> None:
    """Captions letter by letter, pictures pixel by pixel."""
    pictures.write(tmp_path)
    rows = (SHIPPED / "captions.jsonl").read_text("utf-8")
    assert rows == (tmp_path / "captions.jsonl").read_text("utf-8")
    names = [json.loads(row)["image"] for row in rows.splitlines()]
    assert sorted(path.name for path in (SHIPPED / "images").iterdir()) == names
    for name in names:
        folders = (SHIPPED / "images", tmp_path / "images")
        shipped, drawn = (np.asarray(Image.open(folder / name)) for folder in folders)
        assert np.array_equal(shipped, drawn)
