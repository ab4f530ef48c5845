"""The rows that the contestants get: conversations of 1.6 KB, and pictures of 150 KB.

Run as a script, `inputs.py FILE ROWS`: the file's name says what is made, so that the harness
itself never loads Pillow or pyarrow.
"""

from __future__ import annotations

import io
import random
import string
import sys
from pathlib import Path
from typing import Any

import orjson

TURN = 800
POOL = 3_000
SIDE = 512
NOISE = 0.35
QUALITY = 90
QUESTION = "What is shown in this picture? Describe it in one sentence."


def write_text(path: Path, count: int) -> None:
    """JSON lines of two turns each; the first begins with the row's number."""
    chance = random.Random(7)
    words = ["".join(chance.choices(string.ascii_lowercase, k=k)) for k in range(2, 10)] * 4
    pool = [" ".join(chance.choices(words, k=TURN // 6))[:TURN] for _ in range(POOL)]
    with path.open("wb") as file:
        for number in range(count):
            turns = [
                {"role": "user", "content": f"ROW#{number}# " + chance.choice(pool)[: TURN - 10]},
                {"role": "assistant", "content": chance.choice(pool)},
            ]
            file.write(orjson.dumps({"id": number, "conversations": turns}) + b"\n")


def jpeg(chance: random.Random) -> bytes:
    """A gradient under noise, which makes a JPEG of about 150 KB."""
    from PIL import Image

    gradient = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")
    noise = Image.frombytes("RGB", (SIDE, SIDE), chance.randbytes(SIDE * SIDE * 3))
    encoded = io.BytesIO()
    Image.blend(gradient, noise, NOISE).save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


def write_images(path: Path, count: int) -> None:
    """A table with the bytes of pictures, and `paths.parquet` beside it with their paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = path.with_name("images")
    folder.mkdir(exist_ok=True)
    chance = random.Random(3)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        file = folder / f"{number:05}.jpg"
        file.write_bytes(jpeg(chance))
        question = f"ROW#{number}# {QUESTION}"
        rows.append({"id": number, "question": question, "path": str(file)})
    pq.write_table(pa.Table.from_pylist(rows), path.with_name("paths.parquet"))
    table = pa.Table.from_pylist(rows).drop_columns("path")
    images = pa.array([Path(row["path"]).read_bytes() for row in rows], pa.binary())
    pq.write_table(table.append_column("image", images), path, row_group_size=100)


if __name__ == "__main__":
    target, rows_wanted = Path(sys.argv[1]).absolute(), int(sys.argv[2])
    (write_text if target.suffix == ".jsonl" else write_images)(target, rows_wanted)
