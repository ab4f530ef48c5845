"""The command `mirage` as people use it: in this process, and as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from mirage.cli.app import app

PROGRAM = [sys.executable, "-c", "from mirage.cli import main; main()"]


def mirage(*words: str | Path) -> Result:
    """A command in this process."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def start(*words: str | Path, cwd: Path | None = None, **variables: str) -> subprocess.Popen[str]:
    """A command as a process, under way."""
    return subprocess.Popen(
        [*PROGRAM, *(str(word) for word in words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **variables},
    )


def process(*words: str | Path, cwd: Path | None = None, **variables: str) -> tuple[int, str, str]:
    """A command as a process, to its end: exit code, stdout, stderr."""
    running = start(*words, cwd=cwd, **variables)
    out, err = running.communicate(timeout=60)
    return running.returncode, out, err


def document(text: str) -> dict[str, Any]:
    """The one JSON document that stdout holds."""
    found: dict[str, Any] = json.loads(text)
    return found


def project(
    folder: Path, *, rows: int = 20, engine: str = "{backend: fake}", more: str = ""
) -> Path:
    """A configuration with its rows; the dataset goes to `out.jsonl`, the run to `run`."""
    lines = [json.dumps({"q": f"question {n}", "n": n}) for n in range(rows)]
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    config = folder / "ask.yaml"
    config.write_text(
        "source: {path: rows.jsonl}\n"
        f"engine: {engine}\n"
        "inputs:\n  - {name: q, key: q}\n  - {name: n, key: n}\n"
        "outputs:\n  - {name: a, prompt: 'say {q}'}\n"
        f"{more}"
        "output_schema: {question: '{q}', answer: '{a}'}\n"
        "sink: {path: out.jsonl}\n"
        "run: {dir: run}\n"
    )
    return config
