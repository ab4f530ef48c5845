"""LLaVA to MIMIC-IT and a check of it, as a plain script would do: everything in dictionaries."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def convert(source: Path, target: Path) -> None:
    rows = json.loads(source.read_bytes())
    data, train, images = {}, {}, {}
    for row in rows:
        key = Path(row["image"]).stem
        if key not in images:
            images[key] = base64.b64encode((source.parent / row["image"]).read_bytes()).decode()
        question, answer = (said["value"] for said in row["conversations"])
        data[row["id"]] = {
            "instruction": question.replace("<image>\n", ""),
            "answer": answer,
            "image_ids": [key],
            "rel_ins_ids": [],
        }
        train[row["id"]] = []
    target.mkdir()
    (target / "instructions.json").write_text(json.dumps({"meta": {}, "data": data}))
    (target / "train.json").write_text(json.dumps(train))
    pq.write_table(pa.table({"id": list(images), "base64": list(images.values())}), target / "i.pq")


def verify(folder: Path) -> None:
    from PIL import Image

    data = json.loads((folder / "instructions.json").read_bytes())["data"]
    train = json.loads((folder / "train.json").read_bytes())
    table = pq.read_table(folder / "i.pq").to_pydict()
    images = dict(zip(table["id"], table["base64"], strict=True))
    assert all(key in data for key in train)
    assert all(key in images for each in data.values() for key in each["image_ids"])
    for text in images.values():
        Image.open(io.BytesIO(base64.b64decode(text))).load()


if __name__ == "__main__":
    if sys.argv[1] == "convert":
        convert(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        verify(Path(sys.argv[2]))
