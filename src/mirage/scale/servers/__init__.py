"""Servers that run already, told by who knows them: `base_url: file:…`, `slurm:…` or `ray:…`.

    listed.py   a file that lists them
    jobs.py     jobs of SLURM
    serve.py    Ray Serve

Each reads what stands behind the colon, and makes a search of it. What can be wrong before a
cluster is asked is a ValueError then; the rest is one, or a RunError, of the search.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mirage.config.models import EngineConfig
from mirage.scale.servers.listed import listed

Search = Callable[[], list[str]]
NOWHERE = "http://not-asked.invalid/v1"
"""An address that nobody has (RFC 2606)."""


def located(engine: EngineConfig, folder: Path, *, asks: bool = True) -> EngineConfig:
    """An engine with the URLs of its servers, where its `base_url` says who knows them.

    With `asks=False` no cluster is asked, and the servers of one are nowhere. Raises ValueError or
    RunError where there are none.
    """
    search = search_of(engine.base_url, folder)
    if search is None:
        return engine
    return engine.model_copy(update={"base_url": search() if asks else NOWHERE})


def search_of(given: str | list[str] | None, folder: Path) -> Search | None:
    """How the servers are found; None where they are given. Raises ValueError."""
    who, _, text = given.partition(":") if isinstance(given, str) else ("", "", "")
    match who:
        case "file":
            return listed(text, folder)
        case "slurm":
            from mirage.scale.servers.jobs import jobs

            return jobs(text)
        case "ray":
            from mirage.scale.servers.serve import application

            return application(text)
    return None
