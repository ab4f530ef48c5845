"""Thrift's compact protocol, as far as the header of a Parquet page needs it."""

from __future__ import annotations

TRUE, FALSE, BYTE, INTEGERS, DOUBLE, BINARY, STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, 12
Fields = dict[int, "int | bytes | Fields"]


def fields(data: bytes, at: int = 0) -> tuple[Fields, int]:
    """The fields of a structure by their numbers, and where it ends.

    Raises IndexError where the data ends before, ValueError for what is not understood.
    """
    found: Fields = {}
    number = 0
    while head := data[at]:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = integer(data, at)
        if kind in (TRUE, FALSE):
            found[number] = int(kind == TRUE)
        elif kind == BYTE:
            found[number], at = data[at], at + 1
        elif kind in INTEGERS:
            found[number], at = integer(data, at)
        elif kind == DOUBLE:
            at += 8
        elif kind == BINARY:
            length, at = varint(data, at)
            found[number], at = data[at : at + length], at + length
        elif kind == STRUCT:
            found[number], at = fields(data, at)
        else:
            raise ValueError(f"a field of kind {kind}")
    return found, at + 1


def varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned integer of seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def integer(data: bytes, at: int) -> tuple[int, int]:
    """A signed integer: its sign is the lowest bit."""
    value, at = varint(data, at)
    return value >> 1 ^ -(value & 1), at
