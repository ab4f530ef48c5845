"""MIRAGE from Python: `load_config`, `run`, `preview`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mirage.config import Loaded, engine_flag, load_config, parse_config
from mirage.errors import ConfigError, Mistake
from mirage.job import Rows, prepare
from mirage.preview import Preview, glimpse
from mirage.report import Progress
from mirage.session import Summary, execute

__all__ = ["Preview", "Summary", "flags", "load_config", "preview", "run"]

Configuration = str | Path | Mapping[str, Any] | Loaded


def run(
    config: Configuration,
    rows: Rows | None = None,
    *,
    source: str | None = None,
    sink: str | None = None,
    engine: str | None = None,
    run_dir: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    accept_changes: bool = False,
) -> Summary:
    """Run a configuration: a file, YAML text, a mapping, or what `load_config` returned.

    `rows` (a list, any iterable of mappings, or a `datasets.Dataset`) take the place of its source,
    and need no sink: the result is then in the run's folder, see `Summary.rows`. The other
    arguments take the place of keys, as the flags of the command line do. Runs again after a crash,
    and after a change, compute only what is owed. Raises ConfigError with every mistake, RunError
    where the run cannot start; failed records are counted in the summary and raise nothing.
    """
    overrides = flags(source=source, sink=sink, engine=engine, run_dir=run_dir, limit=limit)
    job = prepare(loaded(config, overrides), rows)
    return execute(job, progress=progress, accept_changes=accept_changes)


def preview(
    config: Configuration,
    rows: Rows | None = None,
    *,
    count: int = 5,
    source: str | None = None,
    engine: str | None = None,
) -> list[Preview]:
    """The first records' way: prompts, replies and rows. Nothing is written."""
    job = prepare(loaded(config, flags(source=source, engine=engine)), rows, writes=False)
    return glimpse(job, count)


def loaded(config: Configuration, overrides: Mapping[str, Any]) -> Loaded:
    """A configuration in any of its forms, with the overrides merged in."""
    import orjson

    if isinstance(config, Loaded):
        return config
    if isinstance(config, Mapping):
        return parse_config(orjson.dumps(config).decode(), overrides=overrides)
    return load_config(config, overrides=overrides)


def flags(
    *,
    source: str | None = None,
    sink: str | None = None,
    engine: str | None = None,
    run_dir: str | None = None,
    limit: int | None = None,
) -> dict[str, Any]:
    """What flags say, in the shape of the configuration; their paths are relative to here."""
    given: dict[str, Any] = {}
    if source is not None:
        given["source"] = {"path": here(source)}
    if limit is not None:
        given.setdefault("source", {})["limit"] = limit
    if sink is not None:
        given["sink"] = {"path": here(sink)}
    if run_dir is not None:
        given["run"] = {"dir": here(run_dir)}
    if engine is not None:
        try:
            given["engine"] = engine_flag(engine)
        except ValueError as exc:
            raise ConfigError([Mistake("--engine", str(exc))]) from exc
    return given


def here(path: str) -> str:
    """A flag's path, absolute: a configuration's own are relative to where it stands."""
    if "://" in path:
        return path
    absolute = str(Path(path).expanduser().absolute())
    return absolute + "/" if path.endswith("/") else absolute
