"""Arrow data as plain Python rows: what tables and in-memory datasets share."""

from __future__ import annotations

from typing import Any


def rows(table: Any) -> list[dict[str, Any]]:
    """The rows of an Arrow table or batch as dicts of plain values.

    Times, dates and decimals become strings as Arrow writes them (`2024-05-01 12:00:00Z`, `1.50`),
    durations integers in their unit, maps dicts; bytes stay bytes, and so do HF image structs.
    """
    import pyarrow as pa

    schema = pa.schema([(field.name, plain(field.type)) for field in table.schema])
    if schema.types != table.schema.types:
        table = table.cast(schema)
    found: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
    return found


def plain(kind: Any) -> Any:
    """The Arrow type whose Python values are plain, nearest to `kind`."""
    import pyarrow as pa
    from pyarrow import types as t

    if isinstance(kind, pa.BaseExtensionType):
        return plain(kind.storage_type)
    if t.is_dictionary(kind):
        return plain(kind.value_type)
    if t.is_duration(kind):
        return pa.int64()
    if t.is_temporal(kind) or t.is_decimal(kind):
        return pa.string()
    if t.is_float16(kind):
        return pa.float32()
    if t.is_struct(kind):
        return pa.struct([pa.field(f.name, plain(f.type), f.nullable) for f in kind])
    if t.is_map(kind):
        return pa.map_(plain(kind.key_type), plain(kind.item_type))
    if t.is_fixed_size_list(kind):
        return pa.list_(plain(kind.value_type), kind.list_size)
    if t.is_large_list(kind):
        return pa.large_list(plain(kind.value_type))
    return pa.list_(plain(kind.value_type)) if t.is_list(kind) else kind
