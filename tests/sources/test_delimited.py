"""CSV and TSV: rows as the library reads them, found again by their bytes."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage.errors import RunError
from mirage.sources import Bounds

from .reading import opened, read, rows

MODEST = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
fields = st.text('aé",;\t\n ', min_size=1, max_size=8)


@MODEST
@given(st.lists(st.tuples(fields, fields), max_size=12), st.integers(1, 5), st.booleans())
def test_every_row_once_in_order(
    tmp_path: Path, table: list[tuple[str, str]], limit: int, tabs: bool
) -> None:
    """Quotes, delimiters and line breaks inside fields come back as they went in."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t" if tabs else ",").writerows([("a", "b"), *table])
    name = "a.tsv" if tabs else "a.csv"
    (tmp_path / name).write_bytes(text.getvalue().encode())
    _, records = read(opened(tmp_path, name), bounds=Bounds(rows=limit))
    assert [(r.values["a"], r.values["b"]) for r in records] == table


def test_values_stay_strings(tmp_path: Path) -> None:
    """Numbers, empty fields and a byte order mark are not interpreted, compressed or not."""
    (tmp_path / "a.csv.gz").write_bytes(
        gzip.compress(b"\xef\xbb\xbfid,x\r\n007,\r\n\r\n1e5,NULL\r\n")
    )
    assert rows(tmp_path, "a.csv.gz") == [{"id": "007", "x": ""}, {"id": "1e5", "x": "NULL"}]


def test_empty_fields_of_a_tsv(tmp_path: Path) -> None:
    """A line of tabs alone is a row; only an empty line is none."""
    (tmp_path / "a.tsv").write_bytes(b'a\tb\n\t\n\n5" pipe\tx\n')
    assert rows(tmp_path, "a.tsv") == [{"a": "", "b": ""}, {"a": '5" pipe', "b": "x"}]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"1,2,3", "3 fields, where the header has 2"),
        (b"1", "1 fields"),
        (b'"1"2,3', "expected after"),
        (b"1,\xff", "utf-8"),
    ],
)
def test_a_malformed_row(tmp_path: Path, line: bytes, message: str) -> None:
    """A row that does not fit the header is a fault with its line; the others are read."""
    (tmp_path / "a.csv").write_bytes(b'a,b\n"x\ny",0\n' + line + b"\n4,5\n")
    _, records = read(opened(tmp_path, "a.csv"))
    fault = records[1].fault
    assert fault is not None and fault.kind == "malformed" and message in fault.message
    assert fault.message.startswith("a.csv:4: ")
    assert records[2].values == {"a": "4", "b": "5"}


def test_a_quote_that_is_never_closed(tmp_path: Path) -> None:
    """It swallows what follows: one fault, never silence."""
    (tmp_path / "a.csv").write_bytes(b'a,b\n1,2\n3,"4\n5,6\n')
    _, records = read(opened(tmp_path, "a.csv"))
    assert [record.fault is None for record in records] == [True, False]
    assert "unexpected end" in str(records[1].fault)


def test_columns_of_the_same_name(tmp_path: Path) -> None:
    """They would hide each other: an error when the source is opened, or reached."""
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "b.csv").write_bytes(b"a,b,a\n1,2,3\n")
    with pytest.raises(ValueError, match="a column twice: a"):
        opened(tmp_path, "b.csv")
    with pytest.raises(RunError, match=r"b\.csv: .* twice"):
        read(opened(tmp_path, "*.csv"))


@pytest.mark.parametrize("content", [b"", b"a,b", b"a,b\n\n"])
def test_no_rows(tmp_path: Path, content: bytes) -> None:
    """A header alone is an empty table."""
    (tmp_path / "a.csv").write_bytes(content)
    assert rows(tmp_path, "a.csv") == []


def test_appended_rows(tmp_path: Path) -> None:
    """They are read with the header of the file's beginning."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n1,2\n")
    source = opened(tmp_path, "a.csv")
    stored, _ = read(source)
    path.write_bytes(b"a,b\n1,2\n3,4\n")
    _, records = read(source, stored)
    assert [(r.place, r.values) for r in records] == [("0/a.csv#1", {"a": "3", "b": "4"})]
