"""`@value(frozen=True, slots=True)`: a dataclass whose instances are not changed once made.

The type checker sees `dataclasses.dataclass` and enforces that. At run time the class is not
frozen, because a frozen one costs four times as much to make, and several are made per record.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool):
        return dataclasses.dataclass(slots=slots, unsafe_hash=frozen)


__all__ = ["value"]
