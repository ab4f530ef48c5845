"""Images that need no change are never decoded: counted over 10,000 of them."""

from __future__ import annotations

import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image

from .test_images import picture
from .trial import Trial

COUNT = 10_000
RUN = """
import sys
sys.modules["PIL"] = None  # whoever asks for Pillow gets an ImportError, and its record fails
from mirage import run
summary = run(sys.argv[1])
print(summary.counts.written, summary.counts.failed, summary.usage.calls)
"""


def test_no_image_is_decoded(tmp_path: Path) -> None:
    """A run over 10,000 images (JPEG, PNG, GIF, WebP; each is read, guarded, hashed, sent and
    passed through) where Pillow cannot be imported: 10,000 calls, no failure.
    """
    for number in range(100):
        (tmp_path / f"{number}.img").write_bytes(picture(number % 12) + bytes([number]))
    for number in range(100, COUNT):
        os.link(tmp_path / f"{number % 100}.img", tmp_path / f"{number}.img")
    trial = Trial(tmp_path, ({"q": str(n), "image": f"{n}.img"} for n in range(COUNT)))
    image = {"name": "image", "key": "image", "type": "image", "image_base_path": str(tmp_path)}
    trial.set(
        inputs=[{"name": "q", "key": "q"}, image], sink={"path": str(tmp_path / "out.parquet")}
    )
    trial.set(output_schema={"image": "{image}", "answer": "{answer}"})
    command = [sys.executable, "-c", RUN, str(trial.file())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [str(COUNT), "0", str(COUNT)]


def test_the_count_counts(tmp_path: Path) -> None:
    """Where one image does need a copy, that run shows it: its record fails without Pillow."""
    trial = Trial(tmp_path, [{"q": "a", "image": "a.img"}, {"q": "b", "image": "b.img"}])
    (tmp_path / "a.img").write_bytes(picture(0))
    (tmp_path / "b.img").write_bytes(bitmap())
    image = {"name": "image", "key": "image", "type": "image", "image_base_path": str(tmp_path)}
    trial.set(inputs=[{"name": "q", "key": "q"}, image])
    command = [sys.executable, "-c", RUN, str(trial.file())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["1", "1", "1"], done.stderr[-2000:]


def bitmap() -> bytes:
    """A BMP, which the fake engine does not take as it is."""
    buffer = BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "BMP")
    return buffer.getvalue()
