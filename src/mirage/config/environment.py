"""`${NAME}` and `${NAME:-default}`: the environment's part of a configuration, and its secrets.

They work where a machine differs from the next (engines, source, sink, paths), never in prompts.
As in a shell, `:-` takes the default for an empty variable too, and `$$` is a dollar.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mirage.names import Path
from mirage.places.opening import without_secrets

REDACTED = "***"

_PLACES = (
    *(("engine",), ("engines",), ("source",), ("sink",)),
    *(("run", "dir"), ("run", "fetch", "cache")),
)
_STORES = ("source", "sink", "inputs")
_PATHS = frozenset({"image_base_path", "file"})
_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<inner>[^{}]*)\}|(?P<open>\{))")
_INNER = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)
_SECRET = re.compile(r"(?:^|[_-])(?:api_?key|key|token|secret|password)$", re.IGNORECASE)
_FROM_ENVIRONMENT = re.compile(r"(?:[A-Za-z]+ )?\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_USER = re.compile(r"(?<=://)[^/\s]+(?=@)")


def expand_text(text: str, environment: Mapping[str, str]) -> str:
    """`text` with its variables replaced; ValueError where one is unset and has no default."""

    def replace(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        inner = _INNER.fullmatch(match["inner"] or "")
        if inner is None:
            raise ValueError("write ${NAME} or ${NAME:-default}; $$ is a dollar")
        value = environment.get(inner["name"])
        if inner["default"] is not None:
            return value or str(inner["default"])
        if value is None:
            raise ValueError(f"the variable {inner['name']} is not set and has no default")
        return value

    return _VARIABLE.sub(replace, text)


def expand(
    data: Mapping[str, Any], environment: Mapping[str, str], literal: Collection[Path] = ()
) -> tuple[dict[str, Any], list[tuple[Path, str]]]:
    """A copy of a configuration with its variables replaced, and what is wrong: path, message.

    What stands below a path of `literal` is left alone: a shell has already expanded the flags.
    """
    wrong: list[tuple[Path, str]] = []

    def copy(value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {key: copy(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [copy(item, (*path, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or not _expands(path) or is_below(path, literal):
            return value
        try:
            return expand_text(value, environment)
        except ValueError as exc:
            wrong.append((path, str(exc)))
            return value

    return copy(dict(data), ()), wrong


def is_below(path: Path, places: Collection[Path]) -> bool:
    """Whether `path` is one of the places, or leads through one."""
    return any(path[: len(place)] == place for place in places)


def _expands(path: Path) -> bool:
    if is_below(path, _PLACES):
        return True
    return path[0] in ("inputs", "outputs") and len(path) == 3 and path[2] in _PATHS


def redact(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a configuration that may be shown and stored: `${…}` stays, secrets do not.

    Headers are redacted always, and so is a query but for its `api-version`; elsewhere in an
    engine, what is called a key, token, secret or password, and the user part of URLs. Of the
    addresses of datasets, users and queries are.
    """
    shown = dict(data)
    for place, engine in _engines(data):
        if isinstance(engine, dict):
            safe = {key: _safe(value, key) for key, value in engine.items()}
            shown = _put(shown, place, safe)
    return {key: _addresses(shown[key]) if key in _STORES else shown[key] for key in shown}


def _addresses(value: Any) -> Any:
    """Where datasets are, without users and signatures in the addresses."""
    if isinstance(value, dict):
        return {key: _addresses(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_addresses(item) for item in value]
    return without_secrets(value) if isinstance(value, str) and "://" in value else value


def _engines(data: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if "engine" in data:
        yield ("engine",), data["engine"]
    engines = data.get("engines")
    if isinstance(engines, dict):
        yield from ((("engines", name), engine) for name, engine in engines.items())


def _put(data: dict[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    first, *rest = place
    return {**data, first: _put(data[first], tuple(rest), value) if rest else value}


def _safe(value: Any, key: str, secret: bool = False) -> Any:
    secret = secret or key in ("headers", "query") or bool(_SECRET.search(key))
    secret = secret and key != "api-version"
    if isinstance(value, dict):
        return {name: _safe(item, name, secret) for name, item in value.items()}
    if isinstance(value, list):
        return [_safe(item, key, secret) for item in value]
    if value is None or (isinstance(value, str) and _FROM_ENVIRONMENT.fullmatch(value)):
        return value
    if secret:
        return REDACTED
    return _USER.sub(REDACTED, value) if isinstance(value, str) else value
