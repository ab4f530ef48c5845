"""Small datasets of MIMIC-IT, and data YAMLs that name them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pybase64
from formats.samples import png

Entry = dict[str, Any]


def entry(
    question: str, answer: str, images: Sequence[str] = (), related: Sequence[str] = ()
) -> Entry:
    told = {"instruction": question, "answer": answer}
    return {**told, "image_ids": [*images], "rel_ins_ids": [*related]}


TOY = {
    "TOY_INS_000000": entry("What colour is it?", "Red.", ["TOY_IMG_a"]),
    "TOY_INS_000001": entry("And this one?", "Blue.", ["TOY_IMG_b"], ["TOY_INS_000000"]),
}


def instructions(folder: Path, name: str, entries: Mapping[str, Any]) -> Path:
    path = folder / f"{name}_instructions.json"
    path.write_text(json.dumps({"meta": {"version": "0.0.1"}, "data": entries}))
    return path


def images(folder: Path, name: str, keys: Sequence[str]) -> Path:
    """A store whose n-th image has the shade n."""
    path = folder / f"{name}.json"
    made = {key: pybase64.b64encode(png(at)).decode() for at, key in enumerate(keys)}
    path.write_text(json.dumps(made))
    return path


def toy(folder: Path, group: str = "IMAGE_TEXT", more: str = "") -> Path:
    """A data YAML of the two instructions above."""
    instructions(folder, "TOY", TOY)
    images(folder, "TOY", ["TOY_IMG_a", "TOY_IMG_b"])
    return declared(
        folder,
        f"{group}:\n  TOY:\n    mimicit_path: TOY_instructions.json\n    images_path: TOY.json\n"
        f"{more}",
    )


def many(folder: Path, name: str, count: int) -> str:
    """A dataset of texts; its lines below a group of a data YAML."""
    entries = {f"{name}_INS_{n:03}": entry(f"What is {n}?", f"{n}.") for n in range(count)}
    instructions(folder, name, entries)
    return f"  {name}:\n    mimicit_path: {name}_instructions.json\n"


def declared(folder: Path, text: str) -> Path:
    path = folder / "data.yaml"
    path.write_text(text)
    return path
