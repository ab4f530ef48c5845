"""What a run's folder notes in `run.json`: which configuration and which flags it was started with,
so that `retry` and `merge` need nothing but the folder.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import orjson

from mirage.atomic import write_bytes
from mirage.config import Loaded
from mirage.config.environment import REDACTED
from mirage.errors import ConfigError, Mistake, RunError
from mirage.given import loaded
from mirage.job import Job
from mirage.job import run_dir as folder_of
from mirage.work.folder import read
from mirage.work.lock import owner_of

NOTE = "run.json"


def remember(job: Job) -> None:
    """Note in the run's folder how it was started; secrets in flags are left out.

    While another process owns the folder, its own note stands. Raises RunError where the folder
    cannot be written to.
    """
    if not job.loaded.file or owner_of(job.folder.root):
        return
    note = {"config": str(Path(job.loaded.file).absolute()), "flags": flagged(job.loaded)}
    path = job.folder.root / NOTE
    try:
        with contextlib.suppress(FileNotFoundError):  # swept by one who owns it by now
            write_bytes(path, orjson.dumps(note, option=orjson.OPT_INDENT_2))
    except OSError as exc:
        raise RunError(f"{path} cannot be written: {exc}") from exc


def flagged(loaded: Loaded) -> dict[str, Any]:
    """What flags gave of a configuration, in its shape; `engines` follow from `engine`."""
    given: dict[str, Any] = {}
    for path in loaded.flagged:
        if path[0] == "engines":
            continue
        value: Any = loaded.document
        for step in path:
            value = value[step]
        if len(path) == 1:
            given[str(path[0])] = value
        else:
            given.setdefault(str(path[0]), {})[path[-1]] = value
    return given


def recall(run: Path) -> Loaded:
    """The configuration of a run, given its folder or the configuration's own file."""
    if run.is_file():
        alone = loaded(run, {})
        folder = folder_of(alone)
        noted = read(folder / NOTE)
        if not noted and not folder.exists():
            raise ConfigError([Mistake("", "has not run yet: nothing can have failed", str(run))])
        if not noted or noted["config"] != alone.file:
            return alone
        return loaded(Path(noted["config"]), recalled(noted["flags"]))
    noted = read(run / NOTE)
    if not noted:
        message = f"not the folder of a run from the command line: it holds no {NOTE}"
        raise ConfigError([Mistake("", message, str(run))])
    overrides = recalled(noted["flags"])
    return loaded(Path(noted["config"]), {**overrides, "run": {"dir": str(run.absolute())}})


def recalled(overrides: dict[str, Any]) -> dict[str, Any]:
    """The flags, unless something secret was among them, which is never stored."""
    if REDACTED in str(overrides):
        message = (
            "the run was started with a secret in a flag, which is not stored: put the engine into "
            "the configuration, and the secret into an environment variable"
        )
        raise ConfigError([Mistake("", message)])
    return overrides
