"""Bad luck and bad records: an endpoint that fails in every way, rows that cannot be served."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mirage.engines.mock import Behaviour, MockServer, running

from .trial import Trial, questions

FAULTS = Behaviour(share_500=0.05, share_429=0.05, malformed=0.02, malformed_body=0.02, hang=0.01)
JUDGED: dict[str, Any] = {
    "name": "judged", "prompt": "Judge: {q}", "output_type": "JSON",
    "output_schema": {"reason": "str", "score": {"type": "int", "min": 1, "max": 5}},
}  # fmt: skip
BROKEN = [
    {"other": "has no q"},
    {"q": None},
    {"q": "missing", "image": "nowhere.png"},
    {"q": "cut", "image": "cut.png"},
    {"q": "bomb", "image": "bomb.png"},
    b"{this is no JSON",
]
CAUSES = [
    ("select", "missing"),
    ("template", "null"),
    ("media", "missing"),
    ("media", "truncated"),
    ("media", "bomb"),
    ("source", "malformed"),
]


def png(colour: int = 0) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG that claims ten billion pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    head = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + head + png()[33:]


@pytest.fixture
def server() -> Iterator[MockServer]:
    with running(FAULTS) as server:
        yield server


@pytest.fixture
def trial(tmp_path: Path, server: MockServer) -> Trial:
    """600 questions and six broken rows among them; a call may take a second."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "cut.png").write_bytes(png()[:-20])
    (images / "bomb.png").write_bytes(bomb())
    rows: list[Any] = questions(600)
    for number, row in enumerate(BROKEN):
        rows.insert(50 + 70 * number, row)
    trial = Trial(tmp_path, rows, server.base_url, outputs=[JUDGED], run={"block_rows": 250})
    picture = {"name": "image", "key": "image", "type": "image", "required": False}
    trial.set(
        engine={"timeout": 1.0, "max_in_flight": 64},
        inputs=[{"name": "q", "key": "q"}, {**picture, "image_base_path": str(images)}],
        output_schema={"q": "{q}", "score": "{score}"},
    )
    return trial


def causes(trial: Trial) -> list[tuple[str, str]]:
    return [(failed["boundary"], failed["kind"]) for failed in trial.failures()]


def test_an_endpoint_in_trouble(trial: Trial) -> None:
    """Passing faults are waited out; what is left is broken rows, each with its cause."""
    summary = trial.run()
    assert summary.exit_code == 3
    assert causes(trial) == CAUSES
    counts = summary.counts
    assert (counts.read, counts.written, counts.failed) == (606, 600, 6)
    assert counts.failures == Counter(f"{boundary}/{kind}" for boundary, kind in CAUSES)
    assert [row["q"] for row in trial.output()] == [row["q"] for row in questions(600)]
    assert all(failed["message"] and failed["place"] for failed in trial.failures())
    assert summary.usage.attempts > summary.usage.calls


def test_retry_brings_home_what_can_come(trial: Trial, server: MockServer) -> None:
    """Where nothing is repeated, every fault is a failed record; a retry brings all home whose
    fault is gone, and pays for nothing else.
    """
    trial.set(engine={"retries": 0}, outputs=[{**JUDGED, "max_asks": 1}])
    summary = trial.run()
    failed = Counter(causes(trial))
    kinds = ("http_500", "http_429", "timeout", "malformed")
    assert all(failed["engine", kind] >= 1 for kind in kinds), failed
    assert failed["parse", "schema"] >= 1
    assert summary.counts.read == 606 == summary.counts.written + summary.counts.failed
    assert summary.counts.failed == len(trial.failures()) == sum(summary.counts.failures.values())
    assert trial.run().usage.calls == 0

    server.behaviour = Behaviour()
    images = trial.folder / "images"
    (images / "nowhere.png").write_bytes(png(1))
    (images / "cut.png").write_bytes(png(2))
    before = server.stats.calls
    again = trial.retry()
    assert server.stats.calls - before == summary.counts.failed - 4
    assert (again.counts.written, again.counts.failed) == (602, 4)
    assert causes(trial) == [CAUSES[0], CAUSES[1], CAUSES[4], CAUSES[5]]
    assert [row["q"] for row in trial.output()].index("missing") == 188


def test_retry_of_one_class_leaves_the_others(trial: Trial, server: MockServer) -> None:
    """A retry of engine faults touches neither the broken rows nor the replies that were wrong."""
    trial.set(engine={"retries": 0}, outputs=[{**JUDGED, "max_asks": 1}])
    trial.run()
    others = [cause for cause in causes(trial) if cause[0] != "engine"]
    server.behaviour = Behaviour()
    trial.retry("engine")
    assert causes(trial) == others
