"""A LLaVA list made into MIMIC-IT and verified, beside the loop that one would write by hand.

    .venv/bin/python -m bench.formats [--rows 100000 1000000] [--images 1000]

Each step is a process of its own: rows per second from its start to its end, and the most memory
that it held. The plain loop loads the list with `json`, keeps everything in dictionaries and writes
the images with pyarrow; it checks ids and decodes images, and nothing else.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

from bench.measure import Cost, measure

ROOT = Path(__file__).parents[1]
MIRAGE = [str(Path(sys.executable).parent / "mirage")]
PLAIN = [sys.executable, str(Path(__file__).parent / "peers" / "formats.py")]
MEMORY = 1.3
"""The most memory of the larger size, as a multiple of the smaller one's."""


def llava(folder: Path, rows: int, images: int) -> Path:
    """A list of conversations about small pictures, a row a line."""
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    for number in range(images):
        buffer = io.BytesIO()
        shade = (number % 256, number // 256 % 256, 90)
        Image.new("RGB", (16, 16), shade).save(buffer, "PNG")
        (folder / "images" / f"{number}.png").write_bytes(buffer.getvalue())
    path = folder / "llava.json"
    with path.open("w") as file:
        file.write("[\n")
        for number in range(rows):
            question = f"<image>\nWhat is shown in picture {number}, and what colour has it?"
            answer = f"Number {number} is a plain square. " + "It has one colour only. " * 5
            said = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
            row = {"id": f"s{number}", "image": f"images/{number % images}.png"}
            file.write(",\n" * bool(number) + json.dumps({**row, "conversations": said}))
        file.write("\n]\n")
    return path


def steps(folder: Path, source: Path) -> list[tuple[str, list[str]]]:
    ours, theirs = folder / "ours", folder / "theirs"
    return [
        ("convert", [*MIRAGE, "convert", str(source), "--to", "mimic-it", str(ours)]),
        ("verify", [*MIRAGE, "verify", str(ours)]),
        ("plain convert", [*PLAIN, "convert", str(source), str(theirs)]),
        ("plain verify", [*PLAIN, "verify", str(theirs)]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--images", type=int, default=1_000)
    asked = parser.parse_args()
    peaks: dict[str, list[float]] = {}
    print(f"{'step':<14} {'rows':>9} {'rows/s':>8} {'CPU s':>7} {'peak MB':>8}", flush=True)
    for rows in asked.rows:
        folder = Path(tempfile.mkdtemp(prefix="bench-formats-"))
        try:
            source = llava(folder / "in", rows, asked.images)
            for name, command in steps(folder, source):
                cost: Cost = measure(command, folder / "log.txt", timeout=3600)
                if cost.exit_code:
                    raise SystemExit(f"{name}: {(folder / 'log.txt').read_text()[-2000:]}")
                peaks.setdefault(name, []).append(cost.peak_mb)
                shown = f"{rows / cost.wall:>8,.0f} {cost.cpu:>7.1f} {cost.peak_mb:>8,.0f}"
                print(f"{name:<14} {rows:>9,} {shown}", flush=True)
        finally:
            shutil.rmtree(folder)
    for name, (least, *_, most) in peaks.items():
        target = "" if name.startswith("plain") else f" (at most {MEMORY})"
        print(f"{name}: memory {most / least:.2f} x{target}")


if __name__ == "__main__":
    main()
