"""What was used last is kept, up to a limit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """Values by key, the latest of them: their sizes add up to the limit at most, or there is one.

    Whoever shares it among threads holds a lock.
    """

    def __init__(
        self,
        limit: int,
        drop: Callable[[Value], None] = lambda value: None,
        size: Callable[[Value], int] = lambda value: 1,
    ) -> None:
        self._limit, self._drop, self._size = limit, drop, size
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._held = 0

    def get(self, key: Key, make: Callable[[Key], Value]) -> Value:
        """The value of a key, made where there is none."""
        found = self.find(key)
        if found is None:
            found = make(key)
            self.put(key, found)
        return found

    def find(self, key: Key) -> Value | None:
        found = self._values.get(key)
        if found is not None:
            self._values.move_to_end(key)
        return found

    def put(self, key: Key, value: Value) -> None:
        if key in self._values:
            return
        self._values[key] = value
        self._held += self._size(value)
        while self._held > self._limit and len(self._values) > 1:
            self._pop()

    def clear(self) -> None:
        while self._values:
            self._pop()

    def _pop(self) -> None:
        _, value = self._values.popitem(last=False)
        self._held -= self._size(value)
        self._drop(value)
