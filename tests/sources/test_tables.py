"""Tables: plain values, in slices, whatever the row groups are."""

from __future__ import annotations

import datetime
import os
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.errors import RunError, SourceChangedError
from mirage.sources import Bounds, arrow, tables
from mirage.sources.table_files import Shape
from mirage.sources.tables import ranges

from .reading import opened, read, rows


def stored_table(path: Path, count: int, group: int) -> None:
    pq.write_table(pa.table({"n": list(range(count))}), path, row_group_size=group)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 500)), max_size=8),
    st.integers(1, 40),
    st.integers(1, 400),
    st.integers(0, 100),
)
def test_ranges_cover_the_rows(
    groups: list[tuple[int, int]], rows: int, size: int, start: int
) -> None:
    """From any row on, the ranges join up to the end and none is longer than allowed."""
    total = sum(count for count, _ in groups)
    found = list(ranges(Shape(tuple(groups)), start, Bounds(rows, size)))
    assert [row for a, b in found for row in range(a, b)] == list(range(start, total))
    assert all(0 < b - a <= rows for a, b in found)


@pytest.mark.parametrize("group", [1, 7, 100])
@pytest.mark.parametrize("limit", [3, 10, 1000])
def test_every_row_once_in_order(tmp_path: Path, group: int, limit: int) -> None:
    """Spans end inside row groups or behind several of them."""
    stored_table(tmp_path / "a.parquet", 100, group)
    _, records = read(opened(tmp_path, "a.parquet"), bounds=Bounds(rows=limit))
    assert [record.values["n"] for record in records] == list(range(100))
    assert records[42].place == "0/a.parquet#42"
    assert len({record.digest for record in records}) == 100


def test_values_are_plain(tmp_path: Path) -> None:
    """Nested columns, images undecoded, and what JSON has no type for as strings."""
    image = {"bytes": b"\x89PNG", "path": "a.png"}
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    moment = datetime.datetime(2024, 5, 1, 12, 0, 0, 7)
    columns: dict[str, Any] = {
        "images": pa.array([[image, None], None], pa.list_(struct)),
        "text": pa.array(["é", None], pa.large_string()),
        "kind": pa.array(["a", "b"]).dictionary_encode(),
        "price": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)),
        "when": pa.array([{"t": moment}, None], pa.struct([("t", pa.timestamp("ns", "UTC"))])),
        "day": pa.array([datetime.date(2024, 5, 1), None]),
        "map": pa.array([[("k", Decimal("2"))], []], pa.map_(pa.string(), pa.decimal128(3, 0))),
        "wait": pa.array([3, None], pa.duration("s")),
        "flag": pa.array([True, False]),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    first, second = rows(tmp_path, "a.parquet")
    assert first == {
        "images": [image, None],
        "text": "é",
        "kind": "a",
        "price": "1.50",
        "when": {"t": "2024-05-01 12:00:00.000007000Z"},
        "day": "2024-05-01",
        "map": {"k": "2"},
        "wait": 3,
        "flag": True,
    }
    assert second["images"] is None and second["when"] is None and second["map"] == {}


def test_a_large_row_group_is_read_in_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row group of images is never a list of rows in memory."""
    table = pa.table({"x": [bytes([n]) * 100_000 for n in range(64)]})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False)
    sizes: list[int] = []
    plain = arrow.rows

    def counted(batch: Any) -> list[dict[str, Any]]:
        sizes.append(len(batch))
        return plain(batch)

    monkeypatch.setattr(arrow, "rows", counted)
    monkeypatch.setattr(tables, "SLICE_BYTES", 500_000)
    assert [row["x"][0] for row in rows(tmp_path, "a.parquet")] == list(range(64))
    assert max(sizes) <= 5


def test_large_row_groups_are_several_spans(tmp_path: Path) -> None:
    """Blocks are bounded by bytes as well: ten images of 100 kB fill a block of 1 MB."""
    table = pa.table({"x": [bytes([n]) * 100_000 for n in range(64)]})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False)
    bounds = Bounds(size=1_000_000)
    found, _ = read(opened(tmp_path, "a.parquet"), bounds=bounds)
    assert 7 <= len(found) <= 8 and max(block.rows for block in found) <= 10


def test_a_replaced_file_is_not_intact(tmp_path: Path) -> None:
    """Another table under the same name is another source."""
    path = tmp_path / "a.parquet"
    stored_table(path, 10, 5)
    source = opened(tmp_path, "a.parquet")
    (span,) = source.rest(())
    assert source.intact(span) and list(source.rest([span])) == []
    stored_table(path, 11, 5)
    assert not source.intact(span)
    path.write_bytes(b"PAR1")
    assert not source.intact(span)


def test_a_damaged_page_is_a_fault_of_its_rows(tmp_path: Path) -> None:
    """The footer is whole, the data is not: every row of the span has its outcome."""
    path = tmp_path / "a.parquet"
    table = pa.table({"x": [str(n) * 50 for n in range(2_000)]})
    pq.write_table(table, path, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[100:1500] = b"\xff" * 1400
    path.write_bytes(data)
    _, records = read(opened(tmp_path, "a.parquet"))
    assert len(records) == 2_000
    assert {record.fault and record.fault.kind for record in records} == {"damaged"}


def test_a_row_group_is_decoded_once_for_all_of_its_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows can only be reached from its beginning: the next span goes on where one ended, also
    where two readings go through the file at once, or one leaves spans to others.
    """
    stored_table(tmp_path / "a.parquet", 100, 100)
    source = opened(tmp_path, "a.parquet")
    whole, begun = pq.ParquetFile.iter_batches, list[int]()

    def watched(file: pq.ParquetFile, *args: Any, **keys: Any) -> Any:
        begun.append(1)
        return whole(file, *args, **keys)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    spans = list(source.rest((), Bounds(rows=10)))
    for before, span in zip([None, None, None, *spans], spans, strict=False):
        assert [record.values["n"] for record in source.read(span)] == [*range(span.row, span.stop)]
        if before is not None:
            again = list(source.read_again(before, None))
            assert [record.values["n"] for record in again] == [*range(before.row, before.stop)]
    assert len(begun) == 2
    for span in spans[::2]:
        assert [record.values["n"] for record in source.read(span)] == [*range(span.row, span.stop)]
    assert len(begun) == 3


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6),
    st.integers(1, 25),
    st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["all", "n", "none", "part"]))),
)
def test_spans_are_read_in_any_order(
    groups: list[int], limit: int, order: list[tuple[int, str]]
) -> None:
    """Whole or in part, again and again, or given up in the middle: always their own rows."""
    with TemporaryDirectory() as folder:
        first = 0
        schema = pa.schema({"n": pa.int64(), "t": pa.string()})
        with pq.ParquetWriter(path := Path(folder, "a.parquet"), schema) as file:
            for size in groups:
                numbers = list(range(first, first + size))
                table = pa.table({"n": numbers, "t": [str(n) for n in numbers]}, schema=schema)
                file.write_table(table)
                first += size
        source = opened(path.parent, path.name)
        spans = list(source.rest((), Bounds(rows=limit)))
        assert sum(span.rows for span in spans) == first
        for number, way in order if spans else ():
            span = spans[number % len(spans)]
            expected = [{"n": n, "t": str(n)} for n in range(span.start, span.stop)]
            if way == "part":
                assert next(source.read(span)).values == expected[0]
            elif way == "all":
                assert [record.values for record in source.read(span)] == expected
            else:
                names = frozenset({"n"} if way == "n" else ())
                records = list(source.read_again(span, names))
                found = [{name: each.values[name] for name in names} for each in records]
                assert found == [{name: row[name] for name in names} for row in expected]


def stored_pair(path: Path, count: int = 100, **keys: Any) -> None:
    """A table with a number and a longer text in each row."""
    table = pa.table({"n": list(range(count)), "text": [str(n) * 50 for n in range(count)]})
    pq.write_table(table, path, row_group_size=7, **keys)


@pytest.mark.parametrize("names", [{"n"}, {"text", "nowhere"}, set[str]()])
def test_what_was_read_is_read_again_in_part(tmp_path: Path, names: set[str]) -> None:
    """Of a file that nobody has touched, the fields that are named; the same rows, undigested."""
    stored_pair(tmp_path / "a.parquet")
    source = opened(tmp_path, "a.parquet")
    for span in source.rest((), Bounds(rows=30)):
        whole = list(source.read(span))
        part = list(source.read_again(span, frozenset(names)))
        assert [record.place for record in part] == [record.place for record in whole]
        kept = names & {"n", "text"}
        expected = [{name: record.values[name] for name in kept} for record in whole]
        assert [record.values for record in part] == expected
        assert {record.digest for record in part} == {b""}


def test_what_was_not_read_before_is_read_whole(tmp_path: Path) -> None:
    """By this process, and to the end; and where any field may be needed."""
    stored_pair(tmp_path / "a.parquet")
    source = opened(tmp_path, "a.parquet")
    (span,) = source.rest(())
    next(source.read(span))
    names = frozenset({"n"})
    whole = list(source.read_again(span, names))
    assert whole == list(source.read(span)) and all(record.digest for record in whole)
    assert list(source.read_again(span, None)) == whole
    assert not any(record.digest for record in source.read_again(span, names))


def test_a_table_that_was_touched_is_read_whole(tmp_path: Path) -> None:
    """So that its rows are held against their digests; one touched meanwhile is an error."""
    path = tmp_path / "a.parquet"
    stored_pair(path)
    source = opened(tmp_path, "a.parquet")
    (span,) = source.rest(())
    before = list(source.read(span))
    os.utime(path, (1, 1))
    assert list(source.read_again(span, frozenset({"n"}))) == before
    again = source.read_again(span, frozenset({"n"}))
    next(again)
    os.utime(path, (2, 2))
    with pytest.raises(SourceChangedError, match=r"a\.parquet changed"):
        list(again)


def test_a_damaged_column_that_is_not_read_again(tmp_path: Path) -> None:
    """The fault was told when the rows were read; what is needed of them is there."""
    path = tmp_path / "a.parquet"
    stored_pair(path, write_page_checksum=True, use_dictionary=False, compression="none")
    data = bytearray(path.read_bytes())
    at = data.index(b"15" * 50)
    data[at : at + 10] = b"\xff" * 10
    path.write_bytes(data)
    source = opened(tmp_path, "a.parquet")
    (span,) = source.rest(())
    assert [record.fault is None for record in source.read(span)] == [False] * 100
    numbers = [record.values["n"] for record in source.read_again(span, frozenset({"n"}))]
    assert numbers == list(range(100))


def test_a_row_that_cannot_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has another digest than the row that was there: no answer is lost without a word."""
    stored_pair(tmp_path / "a.parquet", 5)
    source = opened(tmp_path, "a.parquet")
    (span,) = source.rest(())
    before = {record.digest for record in source.read(span)}

    def broken(*args: Any, **keys: Any) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", broken)
    for record in source.read_again(span, frozenset({"n"})):
        assert record.fault is not None
        assert record.digest and record.digest not in before


@pytest.mark.parametrize("count", [40, 99, 101, 200])
def test_a_table_replaced_before_it_is_read(tmp_path: Path, count: int) -> None:
    """Its rows are not those that were surveyed, and there may be more of them, or fewer."""
    stored_pair(tmp_path / "a.parquet")
    source = opened(tmp_path, "a.parquet")
    first, *others = source.rest((), Bounds(rows=30))
    assert len(list(source.read(first))) == first.rows
    stored_pair(tmp_path / "a.parquet", count)
    for span in others:
        with pytest.raises(SourceChangedError, match=r"a\.parquet changed"):
            list(source.read(span))
    (tmp_path / "a.parquet").write_bytes(b"PAR1, and nothing of it")
    with pytest.raises(SourceChangedError, match=r"a\.parquet changed: .* no readable Parquet"):
        list(source.read(first))


def test_damage_is_the_same_in_any_order(tmp_path: Path) -> None:
    """A row that was read after those before it is read on its own as well."""
    path = tmp_path / "a.parquet"
    keys = {"write_page_checksum": True, "use_dictionary": False, "compression": "none"}
    with pq.ParquetWriter(path, pa.schema({"text": pa.string()}), **keys) as file:
        for first, count in ((0, 100), (100, 20)):
            rows = [f"row {number:06}" for number in range(first, first + count)]
            file.write_table(pa.table({"text": rows}))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"row 000110", b"row 000x10"))
    source = opened(tmp_path, "a.parquet")
    spans = list(source.rest((), Bounds(rows=40)))
    assert [span.rows for span in spans] == [40, 40, 40]
    in_order = [record for span in spans for record in source.read(span)]
    alone = [r for span in spans for r in opened(tmp_path, "a.parquet").read(span)]
    assert [record.digest for record in alone] == [record.digest for record in in_order]
    assert [record.fault is None for record in alone] == [True] * 100 + [False] * 20


def test_ids_are_read_again_with_what_is_needed(tmp_path: Path) -> None:
    """A record's place is its id, whatever the output needs."""
    stored_pair(tmp_path / "a.parquet", 5)
    source = opened(tmp_path, "a.parquet", id="text")
    (span,) = source.rest(())
    places = [record.place for record in source.read(span)]
    again = list(source.read_again(span, frozenset({"n"})))
    assert [record.place for record in again] == places
    assert [record.digest for record in again] == [b""] * 5
    source = opened(tmp_path, "a.parquet", id="text || n")
    assert [record.place for record in source.read(span)] == places
    assert all(record.digest for record in source.read_again(span, frozenset({"n"})))


def test_an_arrow_file_is_read_again_in_part(tmp_path: Path) -> None:
    """As Parquet is."""
    data = datasets.Dataset.from_list([{"n": n, "text": str(n)} for n in range(25)])
    data.save_to_disk(tmp_path / "saved")
    source = opened(tmp_path, "saved")
    (span,) = source.rest(())
    assert len(list(source.read(span))) == 25
    again = [(record.values, record.digest) for record in source.read_again(span, frozenset("n"))]
    assert again == [({"n": n}, b"") for n in range(25)]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a table at all", b"PAR1" + b"\0" * 50])
def test_a_file_that_is_no_table(tmp_path: Path, content: bytes) -> None:
    """It is named: when the source is opened if it is the first, otherwise when it is reached."""
    (tmp_path / "b.parquet").write_bytes(content)
    with pytest.raises(ValueError, match="no readable"):
        opened(tmp_path, "b.parquet")
    stored_table(tmp_path / "a.parquet", 3, 3)
    with pytest.raises(RunError, match=r"b\.parquet: .*no readable"):
        read(opened(tmp_path, "*.parquet"))


def test_columns_of_the_same_name(tmp_path: Path) -> None:
    """One would hide the other."""
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="same name"):
        opened(tmp_path, "a.parquet")


def test_a_dataset_saved_to_disk(tmp_path: Path) -> None:
    """Its Arrow files are read without the library, in the order that its state names."""
    data = datasets.Dataset.from_list([{"n": n, "kind": [str(n)]} for n in range(25)])
    data.save_to_disk(tmp_path / "saved", num_shards=3)
    _, records = read(opened(tmp_path, "saved"), bounds=Bounds(rows=4))
    assert [record.values["n"] for record in records] == list(range(25))


def test_the_splits_of_a_saved_dataset(tmp_path: Path) -> None:
    """A split is chosen by name, and never guessed among several."""
    parts = {name: datasets.Dataset.from_list([{"n": name}]) for name in ("train", "test")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert rows(tmp_path, "saved", split="test") == [{"n": "test"}]
    with pytest.raises(ValueError, match="train, test: say which with `split`"):
        opened(tmp_path, "saved")
    with pytest.raises(ValueError, match="there is no split 'dev'"):
        opened(tmp_path, "saved", split="dev")
    with pytest.raises(ValueError, match="has no splits"):
        opened(tmp_path, "saved/train", split="train")
