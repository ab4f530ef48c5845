"""Pictures with what is asked and what is to be answered: for training, and held out."""

from __future__ import annotations

import random
from dataclasses import dataclass

import captions
from captions import Note
from drawings import Drawing, draw_chart, draw_shapes
from lexicon import Words
from PIL import Image
from strange import draw_strange

SIZES = (96, 128, 128, 150, 192, 224, 256)
HELD_OUT_SIZES = (96, 128, 160, 192, 256, 384)


@dataclass(frozen=True)
class Lesson:
    """One picture; `drawing` is what it shows, None where it shows nothing known."""

    kind: str
    image: Image.Image
    drawing: Drawing | None
    prompt: str
    note: Note | None

    @property
    def answer(self) -> str:
        """The caption to be written."""
        return captions.enhanced(self.drawing, self.note)


def draw_picture(
    rng: random.Random, sizes: tuple[int, ...]
) -> tuple[str, Image.Image, Drawing | None]:
    """Shapes, a chart, or something strange."""
    chance, size = rng.random(), rng.choice(sizes)
    if chance < 0.17:
        kind, image = draw_strange(rng, size)
        return kind, image, None
    drawing = draw_shapes(rng) if chance < 0.65 else draw_chart(rng)
    return "chart" if drawing.bars else "shapes", drawing.render(size), drawing


def draw_lesson(rng: random.Random) -> Lesson:
    """A lesson for training."""
    kind, image, drawing = draw_picture(rng, SIZES)
    if rng.random() < 0.1:
        return Lesson(kind, image, drawing, captions.PLAIN, None)
    note = captions.draw_note(rng) if rng.random() < 0.7 else None
    caption = captions.join(rng, captions.draw_clause(rng, drawing), note)
    return Lesson(kind, image, drawing, captions.draw_prompt(rng, caption), note)


def draw_practice(rng: random.Random) -> tuple[str, str, str]:
    """A long note to copy, without a picture: the prompt, the caption before it, the note."""
    words = Words(rng)
    told = " ".join(words.name() for _ in range(rng.randint(2, 7)))
    note = Note(rng.choice(captions.NOTES), told[:56].strip())
    drawing = draw_shapes(rng) if rng.random() < 0.5 else draw_chart(rng)
    given = captions.join(rng, captions.draw_clause(rng, None), note)
    return captions.document_prompt(given), captions.describe(drawing), note.sentence()


def held_out(count: int, seed: int) -> list[Lesson]:
    """Drawings under the third example's prompt, half of them with a note of held-out words."""
    lessons = []
    for index in range(count):
        rng = random.Random(seed * 1_000_003 + index)
        size = rng.choice(HELD_OUT_SIZES)
        drawing = (draw_shapes if rng.random() < 0.6 else draw_chart)(rng)
        note = captions.draw_note(rng, held_out=True) if index % 2 else None
        caption = captions.join(rng, captions.draw_clause(rng, drawing), note)
        prompt = captions.document_prompt(caption)
        kind = "chart" if drawing.bars else "shapes"
        lessons.append(Lesson(kind, drawing.render(size), drawing, prompt, note))
    return lessons


def held_out_strange(count: int, seed: int) -> list[Lesson]:
    """Pictures to be declined, every third of a kind that was never trained on."""
    lessons = []
    for index in range(count):
        rng = random.Random(seed * 1_000_003 + 500_000 + index)
        size = rng.choice(HELD_OUT_SIZES)
        kind, image = draw_strange(rng, size, held_out=index % 3 == 2)
        caption = captions.join(rng, captions.draw_clause(rng, None), None)
        lessons.append(Lesson(kind, image, None, captions.document_prompt(caption), None))
    return lessons
