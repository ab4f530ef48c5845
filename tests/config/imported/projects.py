"""The folders of old projects, as their configurations in `files` expect them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from media.pictures import encoded, noise

FILES = Path(__file__).parent / "files"
NAMES = sorted(path.name.removesuffix(".old.yaml") for path in FILES.glob("*.old.yaml"))
SCRIPT = """\
def length(sample):
    return len(sample["caption"].split())
"""


def project(folder: Path) -> Path:
    """Everything that any of the configurations names, with paths as they are there."""
    turns = [[f"question {n}", f"answer {n}"] for n in range(4)]
    talks = [
        {"conversations": [{"role": r, "content": c} for r, c in zip(ROLES, each, strict=True)]}
        for each in turns
    ]
    lines(folder / "data" / "plain.jsonl", talks[:2])
    lines(folder / "data" / "more.jsonl", talks[2:])
    photos = folder / "data" / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        (photos / name).write_bytes(encoded(noise(8, 8), "PNG"))
    captions = ["a white cat sleeps", "dog", "two birds on a wire"]
    rows = [{"photo": "a.png", "after": "b.png", "caption": c, "author": "x"} for c in captions]
    lines(folder / "data" / "photos.jsonl", rows)
    script = folder / "scripts" / "length.py"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    splits = {"train": ["one", "two"], "test": ["three"]}
    saved = DatasetDict({name: Dataset.from_dict({"text": t}) for name, t in splits.items()})
    saved.save_to_disk(folder / "data" / "saved")
    (folder / "configs").mkdir()
    return folder


ROLES = ("user", "assistant")


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
