"""What a caller gives: a configuration in any of its forms, and flags in the place of keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from mirage.config import Loaded, engine_flag, load_config, parse_config
from mirage.errors import ConfigError, Mistake

Configuration = str | Path | Mapping[str, Any] | Loaded


def loaded(config: Configuration, overrides: Mapping[str, Any]) -> Loaded:
    """A configuration in any of its forms, with the overrides merged in.

    A file is known by its absolute path: its relative paths then mean the same from anywhere.
    """
    if isinstance(config, Loaded):
        if overrides:
            raise ConfigError([Mistake("", "a loaded configuration takes no flags: load it again")])
        return config
    if isinstance(config, Mapping):
        return parse_config(written(config), overrides=overrides)
    if not isinstance(config, str | Path):
        message = f"a configuration is a file, YAML text or a mapping, not {type(config).__name__}"
        raise ConfigError([Mistake("", message)])
    if isinstance(config, Path) or "\n" not in config:
        config = Path(config).absolute()
    return load_config(config, overrides=overrides)


def written(config: Mapping[str, Any]) -> str:
    """A mapping as text; paths may stand in it as `Path`."""
    try:
        return orjson.dumps(config, default=os.fspath).decode()
    except TypeError as exc:
        message = f"the configuration holds what YAML cannot: {exc.__cause__ or exc}"
        raise ConfigError([Mistake("", message)]) from exc


def flags(
    *,
    source: str | Path | None = None,
    sink: str | Path | None = None,
    engine: str | None = None,
    run_dir: str | Path | None = None,
    limit: int | None = None,
    workers: int | None = None,
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
    if workers is not None:
        given.setdefault("run", {})["workers"] = workers
    if engine is not None:
        try:
            given["engine"] = engine_flag(engine)
        except ValueError as exc:
            raise ConfigError([Mistake("--engine", str(exc))]) from exc
    return given


def here(given: str | Path) -> str:
    """A flag's path, absolute: a configuration's own are relative to where it stands."""
    path = str(given)
    if "://" in path:
        return path
    absolute = str(Path(path).expanduser().absolute())
    return absolute + "/" if path.endswith("/") else absolute
