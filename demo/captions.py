"""What is said of a drawing: the caption given, the prompt around it, the caption to be written.

A given caption is vague, partly right or wrong, and may hold one note that no picture can tell
(who drew it, where it is from). The caption to be written describes the drawing and keeps the note.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from drawings import COLOURS, LETTERS, PLACES, SHAPES, Drawing
from lexicon import Words, capitalize
from pieces import Pieces

NUMBERS = ("zero", "one", "two", "three", "four", "five")
NOTHING = "Nothing I know."
NOTES = ("drawn by", "made in", "from page", "source:")
OPENING = (
    "You are a medical imaging expert. Analyze the provided medical image and enhance the caption."
    "\n\nOriginal caption: "
)
CLOSING = "\n\nProvide a more detailed and accurate caption based on what you see in the image.\n"
PLAIN = "Describe the image."
ENHANCE = "Enhance the caption: "
SIZES = ("small", "large")

_WORDS = [*NUMBERS[1:], *SIZES, *COLOURS, *SHAPES, *(f"{shape}s" for shape in SHAPES)]
_WORDS += ["shape", "shapes", "bar", "bars", "chart", "drawing", "picture", "grid"]
TOKENS = Pieces(
    [OPENING, CLOSING, PLAIN, ENHANCE, NOTHING]
    + [f"{capitalize(number)} shape{'s' * (number != 'one')}." for number in NUMBERS[1:5]]
    + [f" {capitalize(place)}: a" for place in PLACES]
    + [f" {shape}." for shape in SHAPES]
    + [f"A bar chart with {number} bars:" for number in NUMBERS[2:]]
    + [f" {letter}" for letter in LETTERS]
    + [". The tallest bar is", ", in", ", ", ". ", " (", "): ", " and", " a"]
    + [f" {word}" for word in _WORDS]
    + [form for note in NOTES for form in (note, f" {note}", capitalize(note))]
    + [f" {capitalize(note)}" for note in NOTES]
)


@dataclass(frozen=True)
class Note:
    """A detail that only the given caption can tell."""

    kind: str
    told: str

    def sentence(self) -> str:
        """As it stands at the end of the caption."""
        return f" {capitalize(self.kind)} {self.told}."


def describe(drawing: Drawing | None) -> str:
    """The true caption; None is a picture of something else."""
    if drawing is None:
        return NOTHING
    if drawing.bars:
        letters = ", ".join(bar.label for bar in drawing.bars)
        tallest = next(bar for bar in drawing.bars if bar.tallest)
        start = f"A bar chart with {NUMBERS[len(drawing.bars)]} bars: {letters}."
        return f"{start} The tallest bar is {tallest.label}, in {tallest.colour}."
    count = len(drawing.shapes)
    start = f"{capitalize(NUMBERS[count])} shape{'s' * (count > 1)}."
    told = (
        f" {capitalize(PLACES[each.place])}: a {SIZES[each.large]} {each.colour} {each.kind}."
        for each in drawing.shapes
    )
    return start + "".join(told)


def enhanced(drawing: Drawing | None, note: Note | None) -> str:
    """The caption to be written: what is seen, then the note; of a strange picture nothing else."""
    kept = note.sentence() if note and drawing else ""
    return describe(drawing) + kept


def draw_note(rng: random.Random, held_out: bool = False) -> Note:
    """A name, a place or a number."""
    words = Words(rng, held_out)
    kind = rng.choice(NOTES)
    if kind == "from page":
        return Note(kind, str(rng.randint(1, 999)))
    told = words.name()
    if rng.random() < 0.4:
        told += f" {words.name()}"
    if kind != "drawn by" and rng.random() < 0.3:
        told += f" {words.year()}"
    return Note(kind, told[:24].strip())


def draw_clause(rng: random.Random, drawing: Drawing | None, plain: bool = False) -> str:
    """A few words on the picture: vague, right, wrong, or (not if `plain`) any words at all."""
    chance = rng.random()
    if chance < 0.45:
        vague = ("some shapes", "a drawing", "a picture", "shapes on a grid", "a simple figure")
        charts = ("a chart", "some bars", "a bar chart", "a picture", "a figure with data")
        return rng.choice(charts if drawing and drawing.bars else vague)
    if chance < 0.55 and not plain:
        return Words(rng).phrase(1, 3)
    if drawing is None or chance < 0.75:
        if rng.random() < 0.3:
            return f"{rng.choice(NUMBERS[2:])} bars"
        return named(rng.choice(list(COLOURS)), rng.choice(SHAPES))
    if drawing.bars:
        return f"{NUMBERS[len(drawing.bars)]} bars"
    picked = rng.sample(drawing.shapes, min(len(drawing.shapes), rng.randint(1, 2)))
    return " and ".join(named(each.colour, each.kind) for each in picked)


def named(colour: str, shape: str) -> str:
    """A shape with its article."""
    return f"{'an' if colour == 'orange' else 'a'} {colour} {shape}"


def join(rng: random.Random, clause: str, note: Note | None) -> str:
    """The given caption: the clause with the note before, after or within brackets."""
    if note is None:
        text = capitalize(clause) if rng.random() < 0.5 else clause
        return text + "." * (rng.random() < 0.5)
    told = f"{note.kind} {note.told}"
    forms = (
        f"{clause}, {told}",
        f"{capitalize(clause)}. {capitalize(told)}.",
        f"{clause} ({told})",
        f"{capitalize(told)}: {clause}",
    )
    return rng.choice(forms)


def document_prompt(caption: str) -> str:
    """The prompt of the third example, word for word."""
    return f"{OPENING}{caption}{CLOSING}"


def caption_in(prompt: str) -> str:
    """The given caption of such a prompt."""
    return prompt.removeprefix(OPENING).removesuffix(CLOSING)


def draw_prompt(rng: random.Random, caption: str) -> str:
    """A prompt for training: mostly the third example's, with other wordings mixed in."""
    chance = rng.random()
    if chance < 0.75:
        return document_prompt(caption)
    if chance < 0.87:
        return ENHANCE + caption
    return Words(rng).phrase(2, 4) + rng.choice((": ", "\n", " ")) + caption
