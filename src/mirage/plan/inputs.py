"""From a row to the variables of `inputs`: selected, defaulted, and images located."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mirage.errors import MediaError, SelectError
from mirage.media import locate
from mirage.places import Place
from mirage.record import Image, Record
from mirage.select import MISSING, Selector

if TYPE_CHECKING:
    from mirage.media.web import Web


class Input(Struct, frozen=True):
    """One variable. `default` is MISSING where none is given; `base` is where its images are, and
    `web` what fetches them where they are URLs.
    """

    name: str
    key: str
    select: Selector
    image: bool = False
    base: Place | None = None
    default: Any = MISSING
    required: bool = True
    web: Web | None = None

    def value(self, record: Record, base: Place | None) -> Any:
        """The variable's value; `base` is the source's image folder. Raises RecordError."""
        value = self.select(record.values)
        if value is MISSING or value is None:
            value = self._instead(value)
        if not self.image:
            return value
        if value is None and self.required:
            raise MediaError("null", f"input '{self.name}': '{self.key}' is null, not an image")
        if isinstance(value, list | tuple) and not value and self.required:
            raise MediaError("empty", f"input '{self.name}': '{self.key}' is a list of no images")
        try:
            return locate(value, self.base or base, self.web)
        except MediaError as error:
            raise MediaError(error.kind, f"input '{self.name}': {error.message}") from error

    def _instead(self, value: Any) -> Any:
        """What stands in the place of null, or of nothing."""
        if self.default is not MISSING:
            return self.default
        if value is MISSING and self.required:
            raise SelectError("missing", f"input '{self.name}': the row has no '{self.key}'")
        return None


def bind(inputs: Sequence[Input], record: Record, base: Place | None) -> dict[str, Any]:
    """All variables of a record. Raises its fault where it could not be read."""
    if record.fault is not None:
        raise record.fault
    return {variable.name: variable.value(record, base) for variable in inputs}


def images_in(values: dict[str, Any]) -> list[Image]:
    """Every image among the values, lists of them included, in order."""
    found: list[Image] = []
    for value in values.values():
        if isinstance(value, Image):
            found.append(value)
        elif isinstance(value, tuple):
            found.extend(item for item in value if isinstance(item, Image))
    return found
