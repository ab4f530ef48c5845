"""Types of columns: named beforehand, inferred from values, and brought together.

One rule for rows, batches and parts: null gives way to anything, an integer to a float, objects
unite field by field, and what then differs is a conflict, which the type that came first wins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from mirage.record import Image

NULL = pa.null()
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMED: dict[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "image": IMAGE,
    "images": pa.list_(IMAGE),
}
Types = dict[str, pa.DataType]
WORDS = {pa.string(): "string", pa.int64(): "integer", pa.float64(): "number"}
WORDS |= {pa.bool_(): "boolean", IMAGE: "image", NULL: "null"}


def named(types: Mapping[str, str], *, embed: bool) -> dict[str, pa.DataType]:
    """Column types by name; images are strings where only their paths are kept."""
    if embed:
        return {name: NAMED[word] for name, word in types.items()}
    paths = {"image": pa.string(), "images": pa.list_(pa.string())}
    return {name: paths.get(word, NAMED[word]) for name, word in types.items()}


class ConflictError(ValueError):
    """Two types that do not go together. `path` is the field within the column."""

    def __init__(self, path: str, have: pa.DataType, new: pa.DataType) -> None:
        super().__init__(f"column '{path}': expected {word(have)}, got {word(new)}")


def word(kind: pa.DataType) -> str:
    """A type in the words of JSON, where it has one."""
    if pa.types.is_list(kind):
        return f"list of {word(kind.value_type)}"
    if pa.types.is_struct(kind) and kind != IMAGE:
        return "object" if kind.num_fields > 8 else f"object with {', '.join(names(kind))}"
    return WORDS.get(kind, str(kind))


def names(kind: pa.StructType) -> list[str]:
    return [kind.field(at).name for at in range(kind.num_fields)]


def plain(kind: pa.DataType) -> pa.DataType:
    """A type as we name it: list items unnamed, and a struct that holds bytes and a path, either
    of which may have been null throughout, an image.
    """
    if pa.types.is_list(kind):
        return pa.list_(plain(kind.value_type))
    if not pa.types.is_struct(kind):
        return kind
    fields = {field.name: plain(field.type) for field in kind}
    if fields.keys() == {"bytes", "path"}:
        texts, blobs = (NULL, pa.string()), (NULL, pa.binary())
        if fields["bytes"] in blobs and fields["path"] in texts and {*fields.values()} != {NULL}:
            return IMAGE
    return pa.struct(list(fields.items()))


def unite(have: pa.DataType, new: pa.DataType, path: str, *, settle: bool = False) -> pa.DataType:
    """The type that holds both. A conflict raises ConflictError, or leaves `have` with `settle`."""
    if have == new or new == NULL:
        return have
    if have == NULL:
        return new
    numbers = {pa.int64(), pa.float64()}
    if have in numbers and new in numbers:
        return pa.float64()
    if pa.types.is_list(have) and pa.types.is_list(new):
        return pa.list_(unite(have.value_type, new.value_type, f"{path}[]", settle=settle))
    if pa.types.is_struct(have) and pa.types.is_struct(new):
        fields = {field.name: field.type for field in have}
        for field in new:
            known = fields.get(field.name, NULL)
            fields[field.name] = unite(known, field.type, f"{path}.{field.name}", settle=settle)
        return pa.struct(list(fields.items()))
    if settle:
        return have
    raise ConflictError(path, have, new)


def inferred(value: Any, path: str) -> pa.DataType:
    """The type of a JSON value; an image is known by its name. Raises ConflictError for a list of
    values that do not go together.
    """
    match value:
        case bool():
            return pa.bool_()
        case int():
            return pa.int64()
        case float():
            return pa.float64()
        case str() | Image():
            return pa.string()
        case list() | tuple():
            kind = NULL
            for item in value:
                kind = unite(kind, inferred(item, f"{path}[]"), f"{path}[]")
            return pa.list_(kind)
        case Mapping():
            found = {str(key): inferred(item, f"{path}.{key}") for key, item in value.items()}
            return pa.struct(list(found.items()))
        case _:
            return NULL


def widened(types: Types, row: Mapping[str, Any]) -> Types:
    """The types of columns with those of a row of JSON. Raises ConflictError."""
    return together(types, {name: inferred(value, name) for name, value in row.items()})


def together(have: Types, new: Types, *, settle: bool = False) -> Types:
    """The types of columns that hold both, as `unite` has it."""
    found = {
        name: unite(have.get(name, NULL), kind, name, settle=settle) for name, kind in new.items()
    }
    return have | found


def holds(wide: pa.DataType, narrow: pa.DataType) -> bool:
    """Whether a type has room for another, integers beyond 2**53 in a float aside."""
    try:
        return bool(unite(wide, narrow, "") == wide)
    except ConflictError:
        return False


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table with the columns of `schema`. Raises pyarrow's ArrowInvalid for an integer that its
    float column cannot hold.
    """
    if table.schema == schema:
        return table
    have = set(table.column_names)
    columns = [
        pa.chunked_array(
            [cast(chunk, field.type) for chunk in table.column(field.name).chunks], field.type
        )
        if field.name in have
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """An array in a type that holds its own. Raises ArrowInvalid as `conform` does.

    Arrow's own cast of nested types is not relied on: of a list of nulls it makes an invalid array
    (seen in pyarrow 26), and in older versions objects cannot gain fields.
    """
    if array.type == kind:
        return array
    if array.type == NULL:
        return pa.nulls(len(array), kind)
    if pa.types.is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        ends = pc.cumulative_sum(lengths).cast(pa.int32())
        starts = pa.concat_arrays([pa.array([0], pa.int32()), ends])
        items = cast(array.flatten(), kind.value_type)
        return pa.ListArray.from_arrays(starts, items, mask=array.is_null())
    if pa.types.is_struct(kind):
        have = dict(zip(names(array.type), array.flatten(), strict=True))
        fields = [cast(have.get(field.name, pa.nulls(len(array))), field.type) for field in kind]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=array.is_null())
    return array.cast(kind)


def schema_of(types: Mapping[str, pa.DataType]) -> pa.Schema:
    """A schema that `datasets` reads images from: it looks for `huggingface` in the metadata."""
    info = orjson.dumps({"info": {"features": features(types)}})
    return pa.schema(list(types.items()), metadata={b"huggingface": info})


def types_of(schema: pa.Schema) -> dict[str, pa.DataType]:
    return {field.name: plain(field.type) for field in schema}


def features(types: Mapping[str, pa.DataType]) -> dict[str, Any]:
    """The `features` of a dataset as `datasets` (4.0 and later) writes them in its JSON."""
    return {name: feature(kind) for name, kind in types.items()}


def feature(kind: pa.DataType) -> dict[str, Any]:
    if kind == IMAGE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return {"feature": feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: feature(field.type) for field in kind}
    name = {pa.float64(): "float64", pa.float32(): "float32", pa.date32(): "date32"}.get(kind)
    return {"dtype": name or str(kind), "_type": "Value"}


def leaves(kind: pa.DataType, path: str) -> Iterator[tuple[str, pa.DataType]]:
    """The leaf columns of a column, by their paths in a Parquet schema."""
    if pa.types.is_list(kind):
        yield from leaves(kind.value_type, f"{path}.list.element")
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from leaves(field.type, f"{path}.{field.name}")
    else:
        yield path, kind
