"""`type: filter`: a record for which the predicate does not hold is dropped, with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from mirage.errors import Drop
from mirage.record import Completion
from mirage.steps.step import Scope
from mirage.template import Expression


class FilterStep(Struct, frozen=True):
    name: str
    keep: Expression
    journalled: bool = False

    @property
    def needs(self) -> frozenset[str]:
        return self.keep.needs

    async def run(self, scope: Scope) -> Any:
        if not self.keep(scope.values):
            raise Drop(self.name)
        return True

    def recall(self, completion: Completion | None, values: Mapping[str, Any]) -> Any:
        return True
