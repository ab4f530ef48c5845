"""A run on trial: a folder with a source, a configuration, and what came of running it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
from msgspec.structs import replace

from mirage import atomic
from mirage.given import loaded
from mirage.job import Job, prepare
from mirage.record import Engine
from mirage.session import Summary, execute

INPUTS = [{"name": "q", "key": "q"}]
OUTPUTS = [{"name": "answer", "type": "llm", "prompt": "Answer this: {q}"}]
SCHEMA = {"q": "{q}", "answer": "{answer}"}


class Trial:
    """One question for each row, answered by the fake engine, or by an endpoint (its URL), or by
    an engine as it is.

    `keys` take the place of the configuration's, those of a mapping one by one.
    """

    def __init__(
        self, folder: Path, rows: Iterable[Any] = (), via: str | Engine = "", **keys: Any
    ) -> None:
        self.folder = folder
        self.engine = None if isinstance(via, str) else via
        self.source = folder / "in.jsonl"
        self.config: dict[str, Any] = {
            "source": {"path": str(self.source)},
            "engine": {"backend": "fake"},
            "inputs": INPUTS,
            "outputs": OUTPUTS,
            "output_schema": SCHEMA,
            "sink": {"path": str(folder / "out.jsonl")},
            "run": {"dir": str(folder / "run")},
        }
        if isinstance(via, str) and via:
            self.config["engine"] = {"model_path": "m", "base_url": via, "max_in_flight": 16}
        self.set(**keys)
        if rows:
            self.write(rows)

    def set(self, **keys: Any) -> None:
        for name, value in keys.items():
            old = self.config.get(name)
            if isinstance(old, dict) and isinstance(value, Mapping) and name != "output_schema":
                value = {**old, **value}
            self.config[name] = value

    # -- the source ------------------------------------------------------------------------------

    def write(self, rows: Iterable[Any]) -> None:
        self.source.write_bytes(lines(rows))

    def append(self, rows: Iterable[Any]) -> None:
        with self.source.open("ab") as file:
            file.write(lines(rows))

    # -- running ---------------------------------------------------------------------------------

    def file(self) -> Path:
        """The configuration as a file, which is whole while another process reads it."""
        path = self.folder / "config.yaml"
        atomic.write_bytes(path, orjson.dumps(self.config))
        return path

    def job(self) -> Job:
        job = prepare(loaded(self.config, {}))
        if self.engine is None:
            return job
        return replace(job, engines=dict.fromkeys(job.engines, self.engine))

    def run(self, **options: Any) -> Summary:
        return execute(self.job(), **options)

    def retry(self, boundary: str = "") -> Summary:
        """Try the failed records of one boundary again, or all of them."""
        return execute(self.job(), wanted=lambda found, kind: boundary in ("", found))

    def forget(self) -> None:
        """Delete the run's folder and what was written."""
        shutil.rmtree(self.run_dir, ignore_errors=True)
        self.target.unlink(missing_ok=True)

    # -- what came of it -------------------------------------------------------------------------

    @property
    def run_dir(self) -> Path:
        return Path(self.config["run"]["dir"])

    @property
    def target(self) -> Path:
        return Path(self.config["sink"]["path"])

    def data(self) -> bytes:
        return self.target.read_bytes()

    def output(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.data().splitlines()]

    def failures(self) -> list[dict[str, Any]]:
        """Every failed record, in the order of the blocks."""
        files = sorted(self.run_dir.glob("blocks/*/failed.jsonl"))
        return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]


def lines(rows: Iterable[Any]) -> bytes:
    """Rows as JSON lines; bytes are a line as they are."""
    return b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows)


def questions(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"q": f"question {number}"} for number in range(start, start + count)]


def started(trial: Trial, word: str = "run") -> subprocess.Popen[bytes]:
    """`mirage run`, or `mirage retry`, as a user would type it."""
    main = [sys.executable, "-c", "import sys; from mirage.cli import main; sys.exit(main())"]
    return subprocess.Popen([*main, word, str(trial.file()), "--json"], stdout=subprocess.DEVNULL)
