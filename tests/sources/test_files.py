"""A source made of files: the limit, identities, and going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirage.errors import SourceChangedError
from mirage.record import Record
from mirage.sources import Bounds

from .reading import opened, read


def write(path: Path, *values: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(value) + b"\n" for value in values))


def kinds(records: list[Record]) -> list[str | None]:
    return [record.fault.kind if record.fault else None for record in records]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(1, 40), st.integers(1, 5))
def test_the_limit(tmp_path: Path, counts: list[int], limit: int, rows: int) -> None:
    """It counts over all files, cuts the last span, and holds when a run goes on."""
    for path in tmp_path.glob("d/*"):
        path.unlink()
    for number, count in enumerate(counts):
        write(tmp_path / "d" / f"{number}.jsonl", *({"n": (number, n)} for n in range(count)))
    every = [[number, n] for number, count in enumerate(counts) for n in range(count)]
    source = opened(tmp_path, "d", limit=limit)
    stored, records = read(source, bounds=Bounds(rows=rows))
    assert [record.values["n"] for record in records] == every[:limit]
    for number in range(len(stored)):
        again, _ = read(source, stored[: number + 1], Bounds(rows=rows))
        assert sum(block.rows for block in stored[: number + 1] + again) == len(every[:limit])


def test_a_file_in_the_middle_that_grew(tmp_path: Path) -> None:
    """Rows appended to any file, and further files, are new blocks behind the stored ones."""
    write(tmp_path / "d" / "a.jsonl", {"n": 1})
    write(tmp_path / "d" / "b.jsonl", {"n": 2})
    stored, _ = read(opened(tmp_path, "d"))
    write(tmp_path / "d" / "a.jsonl", {"n": 1}, {"n": 3})
    write(tmp_path / "d" / "c.jsonl", {"n": 4})
    added, records = read(opened(tmp_path, "d"), stored)
    assert [record.place for record in records] == ["0/a.jsonl#1", "0/c.jsonl#0"]
    assert [block.number for block in added] == [1]


def test_a_lost_file_is_named(tmp_path: Path) -> None:
    """A stored span whose file is gone cannot be gone on from."""
    write(tmp_path / "d" / "a.jsonl", {"n": 1})
    write(tmp_path / "d" / "b.jsonl", {"n": 2})
    stored, _ = read(opened(tmp_path, "d"))
    (tmp_path / "d" / "b.jsonl").unlink()
    with pytest.raises(SourceChangedError, match=r"lost b\.jsonl"):
        read(opened(tmp_path, "d"), stored)


def test_the_states_of_files(tmp_path: Path) -> None:
    """Name, size and time of every file, in reading order."""
    write(tmp_path / "d" / "a.jsonl", {"n": 1})
    write(tmp_path / "d" / "b.jsonl", {"n": 22})
    states = list(opened(tmp_path, "d").files())
    assert [(state.file, state.size) for state in states] == [("a.jsonl", 8), ("b.jsonl", 9)]
    assert states[0].mtime_ns == (tmp_path / "d" / "a.jsonl").stat().st_mtime_ns


def test_an_id_is_the_place(tmp_path: Path) -> None:
    """A string as it is, other values as JSON, nested paths too."""
    write(tmp_path / "a.jsonl", {"k": {"id": "x"}}, {"k": {"id": 7}}, {"k": {"id": [1, "a"]}})
    _, records = read(opened(tmp_path, "a.jsonl", id="k.id"))
    assert [r.place for r in records] == ["0/id:x", "0/id:7", '0/id:[1,"a"]']


def test_missing_and_repeated_ids_are_faults(tmp_path: Path) -> None:
    """The first row keeps an id; places stay unique; a malformed row has none."""
    write(
        tmp_path / "a.jsonl",
        {"id": "x"},
        {"id": None},
        {},
        [1],
        {"id": "x"},
        {"id": 1},
        {"id": "1"},
    )
    _, records = read(opened(tmp_path, "a.jsonl", id="id"), bounds=Bounds(rows=2))
    found = [None, "id", "id", "malformed", "duplicate_id", None, "duplicate_id"]
    assert kinds(records) == found
    assert records[4].place == "0/a.jsonl#4" and "an earlier row has id x" in str(records[4].fault)
    assert len({record.place for record in records}) == 7


def test_blocks_read_on_their_own_agree_on_repeated_ids(tmp_path: Path) -> None:
    """In any order, by another process, after the spool was lost, and after rows were appended."""
    path = tmp_path / "a.jsonl"
    write(path, *({"id": n % 4} for n in range(8)))
    source = opened(tmp_path, "a.jsonl", id="id")
    stored, records = read(source, bounds=Bounds(rows=3))
    assert kinds(records) == [None] * 4 + ["duplicate_id"] * 4
    for keep in (True, False):
        if not keep:
            (tmp_path / ".spool" / "ids-0.sqlite").unlink()
        other = opened(tmp_path, "a.jsonl", id="id")
        found = {b.number: list(other.read(b.spans[0])) for b in reversed(stored)}
        assert [(r.place, r.values) for n in sorted(found) for r in found[n]] == [
            (r.place, r.values) for r in records
        ]
    write(path, *({"id": n % 4} for n in range(8)), {"id": 2}, {"id": 9})
    (tmp_path / ".spool" / "ids-0.sqlite").unlink()
    _, added = read(opened(tmp_path, "a.jsonl", id="id"), stored)
    assert kinds(added) == ["duplicate_id", None]


def test_a_new_survey_forgets_old_ids(tmp_path: Path) -> None:
    """An id that has moved to another row since is no duplicate of itself."""
    path = tmp_path / "a.jsonl"
    write(path, {"id": 1}, {"id": 2})
    read(opened(tmp_path, "a.jsonl", id="id"))
    write(path, {"id": 2}, {"id": 1})
    _, records = read(opened(tmp_path, "a.jsonl", id="id"))
    assert kinds(records) == [None, None]


def test_peek_leaves_the_ids_alone(tmp_path: Path) -> None:
    """Looking at the first rows neither makes nor changes an index."""
    write(tmp_path / "a.jsonl", {"id": 1}, {"id": 1})
    source = opened(tmp_path, "a.jsonl", id="id")
    assert [record.place for record in source.peek(2)] == ["0/id:1", "0/id:1"]
    assert not (tmp_path / ".spool").exists()


def test_an_id_that_is_no_expression(tmp_path: Path) -> None:
    """It is a mistake of the configuration."""
    write(tmp_path / "a.jsonl", {"id": 1})
    with pytest.raises(ValueError, match="JMESPath"):
        opened(tmp_path, "a.jsonl", id="a[")
