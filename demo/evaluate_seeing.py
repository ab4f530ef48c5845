"""Attributes that the model that sees gets right through llama.cpp: `python evaluate_seeing.py`.

Each drawing is asked about under the third example's prompt, greedily. Every attribute of a
drawing counts once; a shape is looked up by its place, and one that is not there counts as a wrong
place. Ends with status 1 if the share of right attributes is below --at-least.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lessons
import pictures
import xllamacpp
from captions import NOTHING, NUMBERS, PLACES, SIZES
from lessons import Lesson
from PIL import Image

RECIPES = Path(__file__).parents[1] / "src" / "mirage" / "recipes" / "demo"
SHAPES = re.compile(r"(\w+) shapes?\.(.*)$")
SHAPE = re.compile(r" ([A-Z][a-z ]*): a (\w+) (\w+) (\w+)\.")
CHART = re.compile(
    r"A bar chart with (\w+) bars: ([A-Z, ]*)\. The tallest bar is (\w+), in (\w+)\."
)
Hits = Iterator[tuple[str, bool]]


@dataclass(frozen=True)
class Reply:
    """What the model said of one picture."""

    lesson: Lesson
    text: str

    def is_exact(self) -> bool:
        return self.text == self.lesson.answer

    def attributes(self) -> Hits:
        """Each attribute by its name, and whether it is right."""
        drawing, note = self.lesson.drawing, self.lesson.note
        if drawing is None:
            yield "declined", self.text == NOTHING
            return
        yield from (self._bars() if drawing.bars else self._shapes())
        if note is not None:
            yield "note", self.text.endswith(note.sentence())

    def _shapes(self) -> Hits:
        assert self.lesson.drawing is not None
        found = SHAPES.match(self.text)
        count = found[1].lower() if found else ""
        told = {place.lower(): rest for place, *rest in SHAPE.findall(found[2] if found else "")}
        shapes = self.lesson.drawing.shapes
        yield "kind", found is not None
        yield "count", count == NUMBERS[len(shapes)]
        for shape in shapes:
            rest = told.pop(PLACES[shape.place], None)
            yield "place", rest is not None
            size, colour, kind = rest or ("", "", "")
            yield "size", size == SIZES[shape.large]
            yield "colour", colour == shape.colour
            yield "shape", kind == shape.kind
        for _ in told:
            yield "place", False

    def _bars(self) -> Hits:
        assert self.lesson.drawing is not None
        found = CHART.match(self.text)
        count, letters, tallest, colour = found.groups() if found else ("", "", "", "")
        bars = self.lesson.drawing.bars
        labels = letters.split(", ")
        yield "kind", found is not None
        yield "bars", count == NUMBERS[len(bars)]
        for index, bar in enumerate(bars):
            yield "label", labels[index : index + 1] == [bar.label]
            if bar.tallest:
                yield "tallest", tallest == bar.label
                yield "its colour", colour == bar.colour


def start_server(model: Path, projector: Path, threads: int) -> xllamacpp.Server:
    """llama.cpp with the two files."""
    params = xllamacpp.CommonParams()
    params.model.path, params.mmproj.path = str(model), str(projector)
    params.n_ctx, params.n_parallel = 1024, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.warmup, params.verbosity = False, -1
    return xllamacpp.Server(params)


def data_url(image: Image.Image) -> str:
    """The picture as a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def ask(server: xllamacpp.Server, lesson: Lesson) -> Reply:
    """One greedy answer."""
    parts = [
        {"type": "image_url", "image_url": {"url": data_url(lesson.image)}},
        {"type": "text", "text": lesson.prompt},
    ]
    request = {"messages": [{"role": "user", "content": parts}], "temperature": 0}
    response: Any = server.handle_chat_completions({**request, "max_tokens": 160})
    return Reply(lesson, response["choices"][0]["message"]["content"])


def share(hits: list[bool]) -> str:
    """Hits of all, and in per cent."""
    return f"{sum(hits)}/{len(hits)} = {100 * sum(hits) / max(1, len(hits)):.1f} %"


def report(title: str, replies: list[Reply], misses: int) -> float:
    """Print the figures; returns the share of right attributes."""
    groups: dict[str, list[bool]] = defaultdict(list)
    frames: dict[str, list[bool]] = defaultdict(list)
    for reply in replies:
        width, height = reply.lesson.image.size
        frame = "square" if width == height else "not square"
        for name, right in reply.attributes():
            groups[reply.lesson.kind if name == "declined" else name].append(right)
            frames[frame].append(right)
    every = [right for hits in groups.values() for right in hits]
    print(
        f"{title}: {share(every)}; exact answers {share([reply.is_exact() for reply in replies])}"
    )
    for name, hits in [*groups.items(), *sorted(frames.items())]:
        print(f"  {name}: {share(hits)}")
    for reply in [reply for reply in replies if not reply.is_exact()][:misses]:
        asked, wanted = reply.lesson.prompt, reply.lesson.answer
        print(f"asked  {asked!r}\nwanted {wanted!r}\ngot    {reply.text!r}\n")
    return sum(every) / max(1, len(every))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=RECIPES / "seeing.gguf")
    parser.add_argument("--projector", type=Path, default=RECIPES / "seeing-mmproj.gguf")
    parser.add_argument("--set", choices=("held-out", "shipped"), default="held-out")
    parser.add_argument(
        "--count", type=int, default=300, help="drawings; half as many strange ones"
    )
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--misses", type=int, default=0, help="how many wrong answers to show")
    parser.add_argument("--at-least", type=float, default=0.0, help="per cent that must be right")
    args = parser.parse_args()
    server = start_server(args.model, args.projector, args.threads)
    if args.set == "shipped":
        sets = {"shipped": pictures.shipped()}
    else:
        drawn = lessons.held_out(args.count, args.seed)
        sets = {"drawings": drawn}
        sets["strange"] = lessons.held_out_strange(args.count // 2, args.seed)
    shares = []
    for title, asked in sets.items():
        started = time.monotonic()
        replies = [ask(server, lesson) for lesson in asked]
        seconds = time.monotonic() - started
        shares.append(report(title, replies, args.misses))
        print(f"  {1000 * seconds / len(asked):.0f} ms per picture")
    return int(100 * shares[0] < args.at_least)


if __name__ == "__main__":
    raise SystemExit(main())
