"""What every step shares: the scope that it runs in, and the shape of a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from mirage.record import Abilities, Completion, Request


class Scope(Protocol):
    """One record, or one child of it, on its way: its values so far, and what a step may ask for.

    `child` counts from 0 and is -1 for the record itself; `asks` counts, by step, how often it has
    been retried. Everything that costs something goes through here, so that it is journalled.
    """

    values: dict[str, Any]
    place: str
    child: int
    asks: Mapping[str, int]

    def abilities(self, engine: str) -> Abilities: ...

    async def complete(self, engine: str, request: Request) -> Completion:
        """The completion of a request: a known one, or a call."""
        ...

    async def compute(
        self, key: bytes, target: str, arguments: Mapping[str, Any], timeout: float
    ) -> str:
        """The JSON text of a user's function's result: a known one, or a call in a worker."""
        ...

    def accept(self, step: str, key: bytes) -> None:
        """The answer under this key is the one that the step goes on with."""
        ...


class Step(Protocol):
    """One entry of `outputs`, compiled. `needs` are the names that it reads."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> frozenset[str]: ...

    @property
    def journalled(self) -> bool:
        """Whether its answer is kept under a key."""
        ...

    async def run(self, scope: Scope) -> Any:
        """Its value for this record. Raises RecordError, or Drop."""
        ...

    def recall(self, completion: Any, values: Mapping[str, Any]) -> Any:
        """Its value out of the completion that was journalled, None where it is not journalled;
        `values` are those that a row is made of, and that its choices are.
        """
        ...
