"""Rows to Arrow tables, a batch at a time, whatever types they turn out to have.

Arrow infers the types of a batch in one go. Only a batch that it refuses, or that contradicts the
types so far, is gone through row by row, to find the rows that do not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from mirage.errors import SinkError
from mirage.record import Image
from mirage.sinks.columns import NULL, ConflictError, Types, cast, plain, unite
from mirage.sinks.images import Gallery, embedded

BATCH_ROWS = 1_000
BATCH_BYTES = 64 << 20
MAX_DEPTH = 64
NUMBERS = frozenset({int, float, bool, type(None)})
COERCED = {pa.float64(): bool, pa.binary(): str}
REFUSALS = (pa.ArrowException, TypeError, ValueError, OverflowError)

Row = Mapping[str, Any]
Numbers = Sequence[int]


class Tables:
    """The tables of one part: its column types so far, and the rows that were refused.

    `types` begins with the types of the dataset where these are fixed, and then never changes;
    otherwise it grows by the columns as they are seen, those of `declared` with their own type.
    """

    def __init__(
        self, declared: Mapping[str, pa.DataType], fixed: Types | None, plain_row: PlainRow
    ) -> None:
        self.declared = declared
        self.types: Types = dict(fixed or {})
        self.fixed = fixed is not None
        self.plain_row = plain_row
        self.rejected: dict[int, SinkError] = {}

    def of(self, rows: Iterable[Row]) -> Iterator[tuple[Numbers, pa.Table]]:
        """Tables of at most BATCH_ROWS rows and about BATCH_BYTES, with the numbers of their rows.
        A later table may have more columns, or wider ones.
        """
        for numbers, batch in self.batches(rows):
            try:
                yield numbers, self.table(batch)
            except REFUSALS:
                numbers, table = self.sifted(numbers, batch)
                if numbers:
                    yield numbers, table

    def batches(self, rows: Iterable[Row]) -> Iterator[tuple[Numbers, Sequence[Row]]]:
        numbers: list[int] = []
        batch: list[Row] = []
        size = 0
        for number, row in enumerate(rows):
            try:
                ready, length = self.plain_row(row)
            except SinkError as error:
                self.rejected[number] = error
                continue
            if batch and (len(batch) == BATCH_ROWS or size + length > BATCH_BYTES):
                yield numbers, batch
                numbers, batch, size = [], [], 0
            numbers.append(number)
            batch.append(ready)
            size += length
        if batch:
            yield numbers, batch

    def table(self, batch: Sequence[Row]) -> pa.Table:
        """One table of all rows. Raises one of REFUSALS if any of them does not fit."""
        names = dict.fromkeys(self.types)
        for row in batch:
            if not row.keys() <= names.keys():
                names.update(dict.fromkeys(row))
        types = dict(self.types)
        arrays = {name: self.array(name, [row.get(name) for row in batch], types) for name in names}
        self.types = types
        return pa.table(arrays)

    def array(self, name: str, values: Sequence[Any], types: Types) -> pa.Array:
        """Values of a column, in its type, to which `types` is widened if need be."""
        array = pa.array(values)
        if coerced(array.type, values):
            raise ValueError("values of different types")
        have = types.get(name)
        if have is None:
            if self.fixed:
                raise ValueError("the dataset has no such column")
            have = self.declared.get(name, NULL)
        kind = plain(array.type)
        want = unite(have, kind, name)
        if self.fixed and want != have:
            raise ConflictError(name, have, kind)
        types[name] = want
        return cast(array, want)

    def sifted(self, numbers: Numbers, batch: Sequence[Row]) -> tuple[Numbers, pa.Table]:
        """The table of the rows that fit; the others are rejected, each for its first misfit.

        They may have to be taken twice: an integer that passed may not go with the float that a
        later row made of its column.
        """
        types = dict(self.types)
        pairs = [pair for pair in zip(numbers, batch, strict=True) if self.admits(*pair, types)]
        try:
            return [number for number, _ in pairs], self.table([row for _, row in pairs])
        except REFUSALS:
            pairs = [pair for pair in pairs if self.admits(*pair, types)]
            return [number for number, _ in pairs], self.table([row for _, row in pairs])

    def admits(self, number: int, row: Row, types: Types) -> bool:
        """Whether a row fits; `types` is widened by a row that does."""
        trial, name = dict(types), ""
        try:
            for name, value in row.items():
                self.array(name, [value], trial)
        except ConflictError as exc:
            self.rejected[number] = SinkError("column", str(exc))
            return False
        except REFUSALS as exc:
            self.rejected[number] = SinkError("column", f"column '{name}': {exc}")
            return False
        types.update(trial)
        return True


def coerced(kind: pa.DataType, values: Iterable[Any]) -> bool:
    """Whether Arrow made something else of a value: among floats it takes True for 1.0, and among
    bytes a string for bytes.
    """
    if kind in COERCED:
        return COERCED[kind] in map(type, values)
    if pa.types.is_list(kind):
        return coerced(kind.value_type, chain.from_iterable(filter(None, values)))
    if pa.types.is_struct(kind):
        objects = list(filter(None, values))
        return any(
            coerced(field.type, (item.get(field.name) for item in objects)) for field in kind
        )
    return False


class PlainRow:
    """A row as Arrow takes it, and about how many bytes it has: images are structs or strings.

    Arrow would read bytes as the keys of an object, and has nothing for one without fields, which
    becomes null.
    """

    def __init__(self, gallery: Gallery, *, embed: bool) -> None:
        self.gallery = gallery
        self.embed = embed
        self.length = 0

    def __call__(self, row: Row) -> tuple[Row, int]:
        """Raises SinkError for what no table holds, and for images that cannot be read."""
        self.length = 0
        try:
            ready = self.value(row, 0)
        except SinkError:
            self.gallery.drop()
            raise
        if ready is None:
            raise SinkError("column", "the row has no columns")
        self.gallery.keep()
        return ready, self.length

    def value(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            self.length += len(value)
            return value
        self.length += 8
        if kind in NUMBERS:
            return value
        if depth > MAX_DEPTH:
            raise SinkError("type", f"values are nested more than {MAX_DEPTH} deep")
        if isinstance(value, (list, tuple)):
            return [self.value(item, depth + 1) for item in value]
        if isinstance(value, (dict, Mapping)):
            return self.object(value, depth + 1)
        if isinstance(value, Image):
            return self.image(value)
        if isinstance(value, bytes):
            self.length += len(value)
        return value

    def object(self, value: Row, depth: int) -> dict[str, Any] | None:
        ready = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise SinkError("type", f"a key is no string: {key!r}")
            ready[key] = self.value(item, depth)
        return ready or None

    def image(self, image: Image) -> Any:
        if not self.embed:
            return self.gallery.claim(image)
        struct = embedded(image)
        self.length += len(struct["bytes"])
        return struct
