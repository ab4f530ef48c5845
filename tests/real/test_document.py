"""The document's three configurations, unchanged but for `engine:`, on models in this process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from cli.commands import mirage

torch = pytest.importorskip("torch", reason="make test-engines installs it")

from .conftest import drawing  # noqa: E402

SEED = Path(__file__).parents[1] / "config" / "seed"
ROWS = 4


@pytest.mark.parametrize("backend", ["transformers", "llamacpp"])
@pytest.mark.parametrize("name", ["reformat", "transform", "caption"])
def test_it_runs_as_it_stands(ggufs: Path, tmp_path: Path, backend: str, name: str) -> None:
    """Every row is written; nothing but the summary is said; images go out as they came in."""
    sees = name == "caption"
    model = ggufs / ("llava" if sees else "llama")
    engine = {"backend": backend, "model_path": str(model), "sampling": {"max_tokens": 200}}
    if backend == "llamacpp":
        engine["model_path"] = f"{model}.gguf"
        engine["args"] = {"mmproj": f"{model}-eyes.gguf"} if sees else {}
    text = re.sub(r"^engine:\n( .*\n)+", "", (SEED / f"{name}.yaml").read_text(), flags=re.M)
    config = tmp_path / f"{name}.yaml"
    config.write_text(f"engine: {json.dumps(engine)}\n{text}".replace("/path/to", str(tmp_path)))
    rows = [_row(tmp_path, number) for number in range(ROWS)]
    (tmp_path / "rows.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    flags: list[str | Path] = [
        "--source",
        tmp_path / "rows.jsonl",
        "--sink",
        tmp_path / "out.jsonl",
    ]
    result = mirage("run", config, *flags, "--quiet")
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").open()]
    assert len(written) == ROWS
    if sees:
        assert [row["image"] for row in written] == [row["image"] for row in rows]


def _row(folder: Path, number: int) -> dict[str, object]:
    images = folder / "images"
    images.mkdir(exist_ok=True)
    (images / f"{number}.png").write_bytes(drawing(number))
    turns = [{"role": "user", "content": f"Why {number}?"}, {"role": "x", "content": "Because."}]
    return {
        "conversations": turns,
        "modalities": ["text"],
        "text": f"The fox is {number} years old.",
        "image": f"{number}.png",
        "caption": "a gradient",
    }


def test_a_process_may_end_without_closing(checkpoints: Path) -> None:
    """An engine that was never closed does not keep the process."""
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from mirage.config.models import EngineConfig\n"
        "from mirage.engines import open_engine\n"
        "from mirage.record import Message, Request\n"
        "config = EngineConfig(model_path='llama', args={'device': 'cpu', 'continuous': True})\n"
        "engine = open_engine(config, backend='transformers', name='e', base=Path(sys.argv[1]))\n"
        "async def ask():\n"
        "    await engine.start()\n"
        "    asked = Request('m', (Message('user', ('hello',)),), {'max_tokens': 3})\n"
        "    print((await engine.complete(asked)).completion_tokens)\n"
        "asyncio.run(ask())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(checkpoints)],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, b"") and ended.stdout.strip().isdigit()
