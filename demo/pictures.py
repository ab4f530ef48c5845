"""Write the shipped pictures and their short captions: `python pictures.py FOLDER`.

FOLDER gets captions.jsonl and images/. `shipped` also tells what each picture shows.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import captions
from captions import Note
from drawings import draw_chart, draw_shapes
from lessons import Lesson
from strange import draw_strange

SEED = 95
ROWS = 120
STRANGE, CHARTS = 2, (1, 4, 6, 8)
SIZES = (144, 160, 192, 224)
SMALL = 96
NOTES = (
    ("drawn by", "Nora Lindqvist"),
    ("drawn by", "Tomasz"),
    ("drawn by", "Ines Carvalho"),
    ("drawn by", "Kofi Mensah"),
    ("drawn by", "Yuki"),
    ("drawn by", "Maeve Byrne"),
    ("made in", "Tallinn 2019"),
    ("made in", "Porto"),
    ("made in", "Nairobi"),
    ("made in", "Gdansk 1987"),
    ("made in", "Cork"),
    ("made in", "Sapporo 2003"),
    ("from page", "7"),
    ("from page", "12"),
    ("from page", "48"),
    ("from page", "153"),
    ("from page", "206"),
    ("from page", "314"),
    ("source:", "Harbour Survey 2014"),
    ("source:", "Larkfield School"),
    ("source:", "Ostrava Atlas"),
    ("source:", "Weather Office 1996"),
    ("source:", "Pinewood Clinic"),
    ("source:", "Census 1921"),
)


def draw_row(index: int) -> Lesson:
    """One row; of ten pictures five are shapes, four charts and one nothing that is known."""
    rng = random.Random(SEED * 1_000_003 + index)
    if index % 10 == STRANGE:
        kind, image = draw_strange(rng, SMALL)
        drawing, note = None, None
    else:
        drawing = (draw_chart if index % 10 in CHARTS else draw_shapes)(rng)
        kind, image = "chart" if drawing.bars else "shapes", drawing.render(rng.choice(SIZES))
        note = Note(*rng.choice(NOTES)) if index % 4 < 3 else None
    caption = captions.join(rng, captions.draw_clause(rng, drawing, plain=True), note)
    return Lesson(kind, image, drawing, captions.document_prompt(caption), note)


def shipped() -> list[Lesson]:
    """The shipped rows with what is to be said of them."""
    return [draw_row(index) for index in range(ROWS)]


def write(folder: Path) -> None:
    """Write the captions and the pictures."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for number, lesson in enumerate(shipped(), 1):
        name = f"{number:03}.png"
        lesson.image.save(folder / "images" / name, "PNG", optimize=True)
        row = {"image": name, "caption": captions.caption_in(lesson.prompt)}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    (folder / "captions.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)
