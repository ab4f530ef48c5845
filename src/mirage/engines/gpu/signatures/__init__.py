"""What SGLang and vLLM take: as recorded of one version, or as read from the installed source.

The recorded facts (names and types, see `record.py`) serve where the package is not installed, so
that a configuration for a GPU machine can be checked on a laptop.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import replace

from mirage.engines.gpu.signatures import record

LOOK = (
    "import importlib.util as u, importlib.metadata as m;"
    "s = u.find_spec({0!r});"
    "print(s.submodule_search_locations[0] if s else '');"
    "print(m.version({0!r}) if s else '')"
)
LOOK_SECONDS = 30


class Signatures(Struct, frozen=True):
    """`arguments` are those of the engine's constructor with their types, `server` what only the
    server takes. `flags` are command-line names that do not follow from the argument's, empty where
    there is none; `parsed` arguments go to the command line as one text, `on` are switches that it
    cannot turn off. `classes` and `functions` are the rest that the adapters rely on.
    """

    package: str
    version: str
    arguments: Mapping[str, str]
    server: Mapping[str, str]
    flags: Mapping[str, str]
    parsed: tuple[str, ...]
    on: tuple[str, ...]
    classes: Mapping[str, Mapping[str, str]]
    functions: Mapping[str, tuple[str, ...]]

    @property
    def label(self) -> str:
        return f"{self.package} {self.version}".strip()


class Installed(Struct, frozen=True):
    folder: Path
    version: str


@cache
def recorded(package: str) -> Signatures:
    path = resources.files("mirage.engines.gpu.signatures") / f"{package}.json"
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    functions = {name: tuple(given) for name, given in found.pop("functions").items()}
    found |= {key: tuple(found[key]) for key in ("parsed", "on")}
    return Signatures(functions=functions, **found)


def installed(package: str, python: str | None = None) -> Installed | None:
    """Where a package lies: for this interpreter, or for another one, which is then asked."""
    if python is None:
        folder = record.folder_of(package)
        return None if folder is None else Installed(folder, _version(package))
    try:
        asked = [python, "-c", LOOK.format(package)]
        shown = subprocess.run(asked, capture_output=True, text=True, timeout=LOOK_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    folder_line, version, *_ = [*shown.stdout.splitlines(), "", ""]
    return Installed(Path(folder_line), version) if folder_line else None


def known(package: str, at: Installed | None) -> Signatures:
    """The installed version's arguments where there is one and its source can be read."""
    stored = recorded(package)
    if at is None or at.version == stored.version:
        return stored
    try:
        arguments = record.arguments(package, at.folder)
        if "model_path" not in arguments and "model" not in arguments:
            return stored
        return replace(
            stored,
            version=at.version,
            arguments=arguments,
            server=record.server_arguments(package, at.folder),
            flags=record.flags(package, at.folder),
            parsed=tuple(record.parsed(package, at.folder)),
            on=tuple(record.switched_on(package, at.folder)),
        )
    except (OSError, SyntaxError, UnicodeDecodeError):
        return stored


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
