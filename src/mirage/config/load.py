"""A configuration from YAML text: read, completed by flags and the environment, validated.

    text -> document (plain data, positions) -> flags -> ${…} -> models

Everything that is wrong is reported at once, each mistake with its line and column. What only the
plan can see (unknown variables, templates, files) it places with `Loaded.mistake`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from msgspec import Struct
from pydantic import ValidationError

from mirage.config.document import Document, read_document, read_text, written
from mirage.config.environment import expand, is_below, redact
from mirage.config.mistakes import explain
from mirage.config.models import Config
from mirage.errors import ConfigError, Mistake
from mirage.names import Path

_KEPT = ("sampling", "max_in_flight", "timeout", "retries")


class Loaded(Struct, frozen=True):
    """A configuration and where it came from.

    `document` is the plain data with the flags merged in, `${…}` unexpanded and secrets redacted:
    what a manifest may keep. `folder` is what its relative paths are relative to.
    """

    config: Config
    document: dict[str, Any]
    file: str
    folder: FilePath
    origin: Document
    flagged: frozenset[Path]

    def position(self, path: Path, offset: int = 0) -> tuple[int, int]:
        """Line and column of a value, (0, 0) where a flag gave it, or the engine that it belongs
        to; see `Document.position`.
        """
        engine = path[:1] in (("engine",), ("engines",))
        replaced = engine and any(given[: len(path)] == path for given in self.flagged)
        flagged = replaced or is_below(path, self.flagged)
        return (0, 0) if flagged else self.origin.position(path, offset)

    def mistake(self, path: Path, message: str, offset: int = 0) -> Mistake:
        """A mistake in the value at `path`, `offset` characters into it."""
        line, column = self.position(path, offset)
        return Mistake(written(path), message, self.file if line else "", line, column)


def load_config(
    path_or_text: FilePath | str, *, overrides: Mapping[str, Any] | None = None
) -> Loaded:
    """Read a configuration: a file, or its text where a string has several lines.

    `overrides` are what flags say, in the shape of the configuration: `{"source": {"path": …}}`.
    Raises ConfigError with all mistakes.
    """
    if isinstance(path_or_text, str) and "\n" in path_or_text:
        return parse_config(path_or_text, overrides=overrides)
    path = FilePath(path_or_text)
    return parse_config(read_text(path), str(path), overrides=overrides)


def parse_config(
    text: str, file: str = "", *, overrides: Mapping[str, Any] | None = None
) -> Loaded:
    """Read a configuration's text; `file` is named in messages and anchors relative paths."""
    source = read_document(text, file)
    document, flagged = merge(source.data, overrides or {})
    data, unset = expand(document, os.environ, flagged)
    wrong = [(path, message, False) for path, message in unset]
    try:
        config = Config.model_validate(data)
    except ValidationError as exc:
        known = {path for path, _ in unset}
        wrong += [found for found in explain(exc, data) if found[0] not in known]
    if wrong:
        raise ConfigError([_placed(source, flagged, file, found) for found in wrong])
    folder = FilePath(file).parent if file else FilePath()
    return Loaded(config, redact(document), file, folder, source, flagged)


def merge(
    data: Mapping[str, Any], overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], frozenset[Path]]:
    """The configuration with the flags' keys in place, and the paths that flags gave.

    A list of sources gives way to `source.path`, other keys of a source go to each of the list. An
    engine from a flag takes the place of all engines, so that nothing is sent to another one. It
    keeps how to sample and how hard to press from the one that it replaces, never its headers or
    key: these belong to the other endpoint.
    """
    merged = dict(data)
    flagged: set[Path] = set()
    engine, named = overrides.get("engine"), merged.get("engines")
    if isinstance(engine, Mapping) and isinstance(named, Mapping):
        merged["engines"] = {name: _over(_kept(old), engine) for name, old in named.items()}
        flagged |= {("engines", name, key) for name in named for key in engine}
    for key, value in overrides.items():
        old = merged.get(key)
        if key == "source" and isinstance(old, list) and "path" not in value:
            merged[key] = [_over(item, value) for item in old]
            flagged |= {(key, index, name) for index in range(len(old)) for name in value}
        elif isinstance(value, Mapping):
            merged[key] = _over(_kept(old) if key == "engine" else old, value)
            flagged |= {(key, name) for name in value}
        else:
            merged[key] = value
            flagged.add((key,))
    return merged, frozenset(flagged)


def _kept(engine: Any) -> Any:
    return {k: engine[k] for k in _KEPT if k in engine} if isinstance(engine, Mapping) else engine


def _over(old: Any, value: Mapping[str, Any]) -> dict[str, Any]:
    return {**old, **value} if isinstance(old, Mapping) else dict(value)


def _placed(
    source: Document, flagged: frozenset[Path], file: str, found: tuple[Path, str, bool]
) -> Mistake:
    path, message, on_key = found
    if is_below(path, flagged):
        return Mistake(written(path), message)
    line, column = source.key_position(path) if on_key else source.position(path)
    return Mistake(written(path), message, file, line, column)
