"""Worker processes for the user's functions, each call with a time limit of its own.

A worker that overruns its time is killed, and the others go on (pebble's ProcessPool).
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mirage.errors import StepError, boundary

if TYPE_CHECKING:
    from pebble import ProcessPool


class Workers:
    """As many processes as there are processors, started with the first call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool: ProcessPool | None = None

    async def call(self, target: str, arguments: Mapping[str, Any], timeout: float) -> str:
        """The JSON text of `target(**arguments)`.

        Raises StepError: "timeout" (in seconds), "died", "exception", or "result" (not JSON).
        """
        from pebble import ProcessExpired, ProcessPool

        if self._pool is None:
            self._pool = ProcessPool(
                max_workers=os.cpu_count() or 1,
                initializer=settle_in,
                initargs=(str(self._folder),),
                context=multiprocessing.get_context("spawn"),
            )
        future = self._pool.schedule(apply, args=[target, dict(arguments)], timeout=timeout)
        try:
            return await asyncio.wrap_future(future)
        except TimeoutError as exc:
            raise StepError("timeout", f"{target} took more than {timeout:g} s") from exc
        except ProcessExpired as exc:
            raise StepError("died", f"{target} ended its process: {exc}") from exc

    def close(self) -> None:
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()


def settle_in(folder: str) -> None:
    """In the worker, before its first call: find modules, and keep off stdout.

    What a function prints goes to stderr: stdout is the command's, maybe a JSON document.
    """
    sys.path.insert(0, folder)
    os.dup2(2, 1)


def apply(target: str, arguments: dict[str, Any]) -> str:
    """In the worker: load the function, call it, and turn its result into text."""
    with boundary(StepError, "exception"):
        value = load(target)(**arguments)
    with boundary(StepError, "result"):
        return orjson.dumps(value).decode()


@cache
def load(target: str) -> Callable[..., Any]:
    """The function that `module:function` or `/path/file.py:function` names."""
    place, _, name = target.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        if spec is None or spec.loader is None:
            raise ImportError(f"{place} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    function: Callable[..., Any] = getattr(module, name)
    return function
