"""One value out of a Parquet column chunk: the encodings, at their edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage.store.pages import Chunk, Unreadable
from mirage.store.thrift import fields

FEW = st.sampled_from([None, "", "QQ==", "Qg=="])
WRITING = st.fixed_dictionaries(
    {
        "use_dictionary": st.booleans(),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "write_batch_size": st.sampled_from([1, 8, 1024]),
        "data_page_size": st.sampled_from([10, 1 << 20]),
        "compression": st.sampled_from(["none", "snappy", "zstd", "lz4"]),
    }
)


def chunk_of(path: Path) -> Chunk:
    footer = pq.read_metadata(path)
    column, kind = footer.row_group(0).column(0), footer.schema.column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    nullable = bool(kind.max_definition_level)
    size, rows = column.total_compressed_size, footer.num_rows
    return Chunk(str(path), start, size, rows, column.compression, nullable)


def value_of(chunk: Chunk, row: int) -> bytes | None:
    number = chunk.number(row)
    page = chunk.page(chunk.data_pages[number])
    return chunk.value(page, row - chunk.firsts[number])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(FEW | st.text("abcdefgh", max_size=90), min_size=1, max_size=30)
    | st.lists(FEW, min_size=100, max_size=300),
    WRITING,
    st.booleans(),
)
def test_every_value_is_the_one_that_was_written(
    tmp_path: Path, values: list[str | None], options: dict[str, Any], required: bool
) -> None:
    """With nulls and without, in a dictionary or plain, in one page or many."""
    if required:
        values = [value or "" for value in values]
    schema = pa.schema([pa.field("base64", pa.string(), nullable=not required)])
    pq.write_table(pa.table({"base64": values}, schema), tmp_path / "x.parquet", **options)
    chunk = chunk_of(tmp_path / "x.parquet")
    found = [value_of(chunk, row) for row in range(len(values))]
    assert found == [None if value is None else value.encode() for value in values]


def test_what_is_not_understood_is_left_to_pyarrow(tmp_path: Path) -> None:
    table = pa.table({"base64": ["QQ==", "Qg=="]})
    encoding = {"base64": "DELTA_LENGTH_BYTE_ARRAY"}
    pq.write_table(table, tmp_path / "x.parquet", use_dictionary=False, column_encoding=encoding)
    with pytest.raises(Unreadable):
        value_of(chunk_of(tmp_path / "x.parquet"), 0)


def test_a_header_of_thrift_is_read_field_by_field() -> None:
    """Numbers in zigzag, steps between field numbers, a long step, booleans, a structure within."""
    data = bytes([0x15, 0x03, 0x25, 0x80, 0x01, 0x11, 0x08, 0x28, 0x02, 65, 66])
    data += bytes([0x1C, 0x15, 0x02, 0x00, 0x00])
    assert fields(data) == ({1: -2, 3: 64, 4: 1, 20: b"AB", 21: {1: 1}}, len(data))


@pytest.mark.parametrize("length", range(4))
def test_a_header_that_is_cut_off_is_none(length: int) -> None:
    with pytest.raises(IndexError):
        fields(bytes([0x15, 0x83, 0x01, 0x00])[:length])
