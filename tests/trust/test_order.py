"""The same completions give the same bytes, whatever the order in which they came."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from .engine import Scripted
from .trial import Trial, questions


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "jsonl", "parquet", "hf"])
def test_bytes_do_not_depend_on_concurrency(tmp_path: Path, name: str) -> None:
    """One call at a time, or 64 that overtake each other: the files are identical."""
    written: list[dict[str, bytes]] = []
    for capacity in (1, 64):
        engine = Scripted(capacity=capacity)
        rng = random.Random(capacity)
        rows = questions(300)
        if capacity > 1:
            engine.slow = {f"Answer this: {row['q']}": rng.choice((0, 0.01, 0.05)) for row in rows}
        folder = tmp_path / str(capacity)
        folder.mkdir()
        trial = Trial(folder, rows, engine, run={"block_rows": 64})
        sink = {"path": str(folder / name), "format": name if "." not in name else None}
        trial.set(sink={key: value for key, value in sink.items() if value})
        trial.run()
        assert capacity == 1 or engine.order != sorted(engine.order, key=list(engine.asked).index)
        files = [trial.target] if trial.target.is_file() else sorted(trial.target.rglob("*"))
        written.append({file.name: file.read_bytes() for file in files})
    assert written[0] == written[1]
    assert len(written[0]) == (1 if "." in name else len(written[0]))


def test_several_sources_stand_one_after_the_other(tmp_path: Path) -> None:
    """Rows of several sources keep their order, even where files have the same name."""
    sources = []
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "in.jsonl"
        path.write_text("".join(f'{{"q": "{name} {number}"}}\n' for number in range(20)))
        sources.append({"path": str(path)})
    trial = Trial(tmp_path, (), Scripted(), run={"block_rows": 8}, source=None)
    trial.config["source"] = sources
    trial.run()
    assert [row["q"] for row in trial.output()] == [f"{n} {i}" for n in "ba" for i in range(20)]
    assert trial.run().usage.calls == 0
