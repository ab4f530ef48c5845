"""JSON Lines: every row once, in order, whatever the file looks like."""

from __future__ import annotations

import gzip
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_digest

from mirage.errors import SourceChangedError
from mirage.sources import Bounds

from .reading import opened, read, rows

MODEST = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
PACK = {
    "a.jsonl": lambda data: data,
    "a.jsonl.gz": gzip.compress,
    "a.jsonl.zst": zstandard.ZstdCompressor().compress,
}


def jsonl(*values: Any) -> bytes:
    return b"".join(orjson.dumps(value) + b"\n" for value in values)


lengths = st.lists(st.integers(0, 200), max_size=30)
limits = st.builds(Bounds, rows=st.integers(1, 12), size=st.integers(1, 600))


@pytest.mark.parametrize("name", PACK)
@MODEST
@given(lengths, limits, st.booleans())
def test_every_row_once_in_order(
    tmp_path: Path, name: str, sizes: list[int], bounds: Bounds, ended: bool
) -> None:
    """Whatever the limits and the lengths, each row is read once, in order, at its own place."""
    data = b"\n".join(jsonl({"n": n, "x": "é" * size}) for n, size in enumerate(sizes))
    (tmp_path / name).write_bytes(PACK[name](data if ended else data.rstrip(b"\n")))
    found, records = read(opened(tmp_path, name), bounds=bounds)
    assert [record.values["n"] for record in records] == list(range(len(sizes)))
    assert [record.place for record in records] == [f"0/{name}#{n}" for n in range(len(sizes))]
    assert all(block.rows <= bounds.rows for block in found)
    spans = [span for block in found for span in block.spans]
    assert all(a.stop == b.start for a, b in pairwise(spans))
    assert all(s.rows == 1 or s.stop - s.start <= bounds.size for s in spans)


@pytest.mark.parametrize("name", PACK)
@MODEST
@given(lengths, lengths, limits)
def test_appended_rows_are_new_spans(
    tmp_path: Path, name: str, first: list[int], more: list[int], bounds: Bounds
) -> None:
    """What was stored stays as it was; the rows behind it, and only they, are new."""
    old = jsonl(*({"n": n, "x": "x" * size} for n, size in enumerate(first)))
    new = jsonl(*({"n": n, "x": "x" * size} for n, size in enumerate(more, len(first))))
    path = tmp_path / name
    path.write_bytes(PACK[name](old))
    source = opened(tmp_path, name)
    stored, before = read(source, bounds=bounds)
    path.write_bytes(PACK[name](old) + PACK[name](new))
    assert all(source.intact(span) for block in stored for span in block.spans)
    added, after = read(source, stored, bounds)
    assert [r.values["n"] for r in before + after] == list(range(len(first) + len(more)))
    assert [b.number for b in stored + added] == list(range(len(stored) + len(added)))


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    """Blank lines are no rows, but the number of a malformed line is that of an editor."""
    (tmp_path / "a.jsonl").write_bytes(b'\n{"n": 1}\n  \n\r\n{"n": \n{"n": 2}\n')
    _, records = read(opened(tmp_path, "a.jsonl"), bounds=Bounds(1, 10))
    assert [record.values.get("n") for record in records] == [1, None, 2]
    fault = records[1].fault
    assert fault is not None and fault.kind == "malformed"
    assert fault.message.startswith("a.jsonl:5: ") and fault.raw == '{"n":'


@pytest.mark.parametrize(
    "line",
    [
        b"[1, 2]",
        b"7",
        b"null",
        b'"text"',
        b'{"a": NaN}',
        b'{"a": 1} {"b": 2}',
        b'{"a": "\xff\xfe"}',
        b'{"a": "\\ud800"}',
        b"\0\0\0\0",
        b"[" * 5_000,
        b'{"a": 1',
    ],
)
def test_a_malformed_line_is_one_fault(tmp_path: Path, line: bytes) -> None:
    """It touches neither the row before it nor the one behind it."""
    (tmp_path / "a.jsonl").write_bytes(jsonl({"n": 1}) + line + b"\n" + jsonl({"n": 2}))
    _, records = read(opened(tmp_path, "a.jsonl"))
    assert [record.fault and record.fault.kind for record in records] == [None, "malformed", None]
    assert records[1].values == {} and records[2].values == {"n": 2}
    assert len(records[1].fault.raw or "") <= 2_000  # type: ignore[union-attr]


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    """Neither belongs to the rows, nor to their digests."""
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"n":1}\r\n{"n":2}\r\n')
    _, records = read(opened(tmp_path, "a.jsonl"))
    assert [record.values for record in records] == [{"n": 1}, {"n": 2}]
    assert [r.digest for r in records] == [xxh3_128_digest(b'{"n":%d}' % n) for n in (1, 2)]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
def test_a_file_without_rows(tmp_path: Path, content: bytes) -> None:
    """It has no spans, and nothing goes wrong."""
    (tmp_path / "a.jsonl").write_bytes(content)
    assert read(opened(tmp_path, "a.jsonl")) == ([], [])


def test_a_line_of_100_megabytes(tmp_path: Path) -> None:
    """A huge row is a row like any other."""
    (tmp_path / "a.jsonl").write_bytes(jsonl({"n": 1}, {"x": "x" * 100_000_000}, {"n": 2}))
    found = rows(tmp_path, "a.jsonl")
    assert len(found[1]["x"]) == 100_000_000 and found[2] == {"n": 2}


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    """A span is intact as long as its own bytes are the same, and no longer."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl({"n": 1}, {"n": 2}, {"n": 3}))
    source = opened(tmp_path, "a.jsonl")
    spans = list(source.rest((), Bounds(rows=1)))
    path.write_bytes(jsonl({"n": 1}, {"n": 5}, {"n": 3}))
    assert [source.intact(span) for span in spans] == [True, False, True]
    path.unlink()
    assert not source.intact(spans[0])


def test_a_continued_last_line_is_a_change(tmp_path: Path) -> None:
    """A line that was read while it was being written has become another row."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1}\n{"n": 2')
    source = opened(tmp_path, "a.jsonl")
    stored, records = read(source)
    assert records[1].fault is not None
    path.write_bytes(b'{"n": 1}\n{"n": 2}\n{"n": 3}\n')
    assert not source.intact(stored[0].spans[0])
    with pytest.raises(SourceChangedError, match=r"a\.jsonl has been continued"):
        read(source, stored)


def test_a_truncated_file_is_a_change(tmp_path: Path) -> None:
    """Rows that are gone are never taken for read."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl({"n": 1}, {"n": 2}, {"n": 3}))
    source = opened(tmp_path, "a.jsonl")
    (span,) = source.rest(())
    path.write_bytes(jsonl({"n": 1}, {"n": 2}))
    with pytest.raises(SourceChangedError, match="1 rows fewer"):
        list(source.read(span))
    path.unlink()
    with pytest.raises(SourceChangedError, match="cannot be read any more"):
        list(source.read(span))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("damage", ["torn", "overwritten"])
def test_damaged_compression_is_one_fault_more(tmp_path: Path, name: str, damage: str) -> None:
    """The rows before the damage are read, and the last record says that there was more."""
    data = PACK[name](b"".join(jsonl({"n": n, "x": str(hash((n, 1)))}) for n in range(30_000)))
    half = len(data) // 2
    data = data[:half] if damage == "torn" else data[:half] + b"\xff" * 99 + data[half + 99 :]
    (tmp_path / name).write_bytes(data)
    source = opened(tmp_path, name)
    stored, records = read(source)
    last = records[-1].fault
    assert last is not None
    assert last.kind == "damaged" or damage == "overwritten"
    sound = 1_000  # zlib notices an overwritten stretch some garbled rows later
    assert [record.values["n"] for record in records[:sound]] == list(range(sound))
    assert list(source.rest([span for block in stored for span in block.spans])) == []


def test_members_and_padding_of_gzip(tmp_path: Path) -> None:
    """Files that were concatenated, or padded with zeros, are read to their end."""
    data = gzip.compress(jsonl({"n": 1})) + gzip.compress(jsonl({"n": 2})) + b"\0" * 512
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    assert rows(tmp_path, "a.jsonl.gz") == [{"n": 1}, {"n": 2}]


def test_peek_reads_only_the_beginning(tmp_path: Path) -> None:
    """The first rows come without a look at the rest, which here would fail."""
    path = tmp_path / "a.jsonl.gz"
    data = gzip.compress(b"".join(jsonl({"n": n, "x": "x" * 999}) for n in range(20_000)), 0)
    path.write_bytes(data[: len(data) // 2])
    records = list(opened(tmp_path, "a.jsonl.gz").peek(3))
    assert [record.values["n"] for record in records] == [0, 1, 2]
