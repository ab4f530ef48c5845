"""Parts of a table, and what the table formats share.

A part is written as it comes. When a later batch widens a column, a new segment of the part begins,
and the segments are brought to one schema at the end: rows are never held, whatever their number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from mirage import atomic
from mirage.record import PartReport
from mirage.sinks.columns import NULL, Types, conform, holds, named, schema_of, together, types_of
from mirage.sinks.images import Gallery
from mirage.sinks.rows import PlainRow, Tables


class Writer(Protocol):
    """An open file of tables, as pyarrow has them for each format."""

    def write_table(self, table: pa.Table) -> None: ...


class TableSink(ABC):
    """A sink of tables. A format says how a file of tables is written, read and published."""

    suffix: str

    def __init__(self, path: Path, declared: Mapping[str, str], *, embed: bool) -> None:
        self.path = path
        self.embed = embed
        self.declared = named(declared, embed=embed)

    @abstractmethod
    def check(self) -> None: ...

    @abstractmethod
    def writer(self, file: Path, schema: pa.Schema) -> AbstractContextManager[Writer]: ...

    @abstractmethod
    def tables(self, file: Path) -> Iterator[pa.Table]: ...

    @abstractmethod
    def schema(self, file: Path) -> pa.Schema: ...

    @abstractmethod
    def publish(self, parts: Sequence[Path], columns: Any | None) -> None: ...

    def write(
        self, part: Path, rows: Iterable[Mapping[str, Any]], columns: pa.Schema | None = None
    ) -> PartReport:
        """Write a part. Rejected: values that differ in type from the first of their column,
        or from `columns`; integers beyond 64 bits, or that a float column would round; keys that
        are no strings, lone surrogates, and images that cannot be read.
        """
        fixed = None if columns is None else types_of(columns)
        with atomic.workspace(part.parent) as room:
            with Gallery(part) as gallery, Segments(self, room) as segments:
                tables = Tables(self.declared, fixed, PlainRow(gallery, embed=self.embed))
                for numbers, table in tables.of(rows):
                    segments.add(numbers, table)
                whole = segments.joined(tables)
            atomic.settle(whole, part)
        rejected = tuple(sorted(tables.rejected.items()))
        return PartReport(segments.rows, rejected)

    def columns(self, parts: Sequence[Path]) -> pa.Schema:
        """The types over all parts: where two conflict, the earlier part's. Columns stand in the
        order in which rows had them; declared ones that no row had come last.
        """
        types: Types = {}
        for part in sorted(parts, key=self.empty):
            types = together(types, types_of(self.schema(part)), settle=True)
        return schema_of(self.with_declared(types))

    def with_declared(self, types: Mapping[str, pa.DataType]) -> dict[str, pa.DataType]:
        return {**types, **{name: k for name, k in self.declared.items() if name not in types}}

    def empty(self, part: Path) -> bool:
        return not any(True for _ in self.tables(part))

    def fits(self, part: Path, columns: pa.Schema | None) -> bool:
        """Whether a part can be cast to `columns` without loss. Its rows are read only where its
        integers meet a column of floats.
        """
        if columns is None:
            return True
        have, want = types_of(self.schema(part)), types_of(columns)
        if not all(name in want and holds(want[name], kind) for name, kind in have.items()):
            return False
        if all(kind in (want[name], NULL) for name, kind in have.items()):
            return True
        try:
            for table in self.tables(part):
                conform(table, columns)
        except pa.ArrowInvalid:
            return False
        return True

    def transcribe(self, parts: Iterable[Path], schema: pa.Schema, file: Path) -> None:
        """Write parts to one file, table by table."""
        with self.writer(file, schema) as writer:
            for part in parts:
                for table in self.tables(part):
                    writer.write_table(conform(table, schema))


class Segments:
    """The pieces of one part, each of one schema, and the numbers of the rows in them."""

    def __init__(self, sink: TableSink, room: Path) -> None:
        self.sink = sink
        self.room = room
        self.files: list[Path] = []
        self.numbers: list[int] = []
        self.rows = 0
        self.schema: pa.Schema | None = None
        self.stack = ExitStack()
        self.writer: Writer | None = None

    def __enter__(self) -> Segments:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def add(self, numbers: Sequence[int], table: pa.Table) -> None:
        if self.writer is None or table.schema != self.schema:
            self.stack.close()
            self.schema = schema_of(types_of(table.schema))
            self.files.append(self.room / str(len(self.files)))
            self.writer = self.stack.enter_context(self.sink.writer(self.files[-1], self.schema))
        self.writer.write_table(table)
        self.numbers += numbers

    def joined(self, tables: Tables) -> Path:
        """The whole part as one file."""
        self.stack.close()
        types = tables.types if tables.fixed else self.sink.with_declared(tables.types)
        schema = schema_of(types)
        self.rows = len(self.numbers)
        if len(self.files) == 1 and schema == self.schema:
            return self.files[0]
        whole = self.room / "whole"
        with self.sink.writer(whole, schema) as writer:
            for table in self.conforming(tables, schema):
                writer.write_table(table)
        return whole

    def conforming(self, tables: Tables, schema: pa.Schema) -> Iterator[pa.Table]:
        """All rows in the final types; an integer that a float would round is now rejected."""
        tables.types, tables.fixed = types_of(schema), True
        at = 0
        for file in self.files:
            for table in self.sink.tables(file):
                numbers = self.numbers[at : at + table.num_rows]
                at += table.num_rows
                try:
                    yield conform(table, schema)
                except pa.ArrowInvalid:
                    kept, table = tables.sifted(numbers, table.to_pylist())
                    self.rows -= len(numbers) - len(kept)
                    if kept:
                        yield conform(table, schema)
