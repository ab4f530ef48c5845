"""`type: python`: a value that the user's own function computes, in a worker process.

Nobody can see into such a function, so its result is journalled under a hash of its file, its name,
its arguments and the record's place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from msgspec import Struct

from mirage.errors import MediaError, StepError, boundary
from mirage.record import Completion, Image
from mirage.steps.step import Scope
from mirage.template import Tree


class PythonStep(Struct, frozen=True):
    """One call for each record. `target` is `module:function` or `/path/file.py:function`.

    The function gets `arguments` as keywords, images as their original bytes, and returns any JSON
    value. `source` is a hash of the file that it stands in.
    """

    name: str
    target: str
    source: str
    arguments: Tree
    timeout: float
    journalled: bool = True

    @property
    def needs(self) -> frozenset[str]:
        return self.arguments.needs

    async def run(self, scope: Scope) -> Any:
        with boundary(MediaError, "unreadable"):
            arguments = as_bytes(self.arguments.value(scope.values))
        what = [self.source, self.target, arguments, scope.place, scope.child]
        try:
            key = hashlib.blake2b(orjson.dumps(what, default=digest_of), digest_size=16).digest()
        except orjson.JSONEncodeError as exc:
            raise StepError("arguments", f"{self.target}: {exc}") from exc

        text = await scope.compute(key, self.target, arguments, self.timeout)
        scope.accept(self.name, key)
        return orjson.loads(text)

    def recall(self, completion: Completion, values: Mapping[str, Any]) -> Any:
        return orjson.loads(completion.text)


def digest_of(value: Any) -> str:
    """How bytes, an image's included, count in the hash of the arguments."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    raise TypeError(f"a {type(value).__name__} cannot be passed to a function")


def as_bytes(value: Any) -> Any:
    """The same arguments with the original bytes in place of every image."""
    if isinstance(value, Image):
        return value.read()
    if isinstance(value, Mapping):
        return {name: as_bytes(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_bytes(item) for item in value]
    return value
