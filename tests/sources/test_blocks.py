"""Blocks, and several sources as one."""

from __future__ import annotations

from pathlib import Path

import orjson

from mirage.config.data import SourceConfig
from mirage.sources import Bounds, Sources, blocks, open_rows, open_source, peek

from .reading import opened, read


def numbered(path: Path, count: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps({"n": n}) + b"\n" for n in range(count)))


def test_small_files_share_a_block_and_a_large_one_is_cut(tmp_path: Path) -> None:
    """Neither rows nor bytes exceed the bounds, and no block is cut without need."""
    for number, count in enumerate((2, 3, 12, 1)):
        numbered(tmp_path / "d" / f"{number}.jsonl", count)
    bounds = Bounds(rows=5)
    found, _ = read(opened(tmp_path, "d"), bounds=bounds)
    assert [block.rows for block in found] == [5, 5, 5, 3]
    assert [span.file for span in found[0].spans] == ["0.jsonl", "1.jsonl"]
    size = (tmp_path / "d" / "0.jsonl").stat().st_size
    small = Bounds(size=size)
    found, _ = read(opened(tmp_path, "d"), bounds=small)
    assert all(sum(s.stop - s.start for s in block.spans) <= size for block in found)


def test_blocks_come_while_the_source_is_surveyed(tmp_path: Path) -> None:
    """The first block is there before the second file is looked at."""
    numbered(tmp_path / "d" / "0.jsonl", 5)
    numbered(tmp_path / "d" / "1.jsonl", 5)
    bounds = Bounds(rows=2)
    found = blocks(opened(tmp_path, "d"), (), bounds)
    assert next(found).rows == 2
    (tmp_path / "d" / "1.jsonl").write_bytes(b"")
    assert [block.rows for block in found] == [2, 1]


def test_several_sources_are_one(tmp_path: Path) -> None:
    """A record's place names its source, spans find their way back, the list gives the order."""
    numbered(tmp_path / "a.jsonl", 2)
    (tmp_path / "b.csv").write_text("n\nx\ny\n")
    sources = Sources(
        [
            open_source(SourceConfig(path=path), base=tmp_path, number=number, spool=tmp_path)
            for number, path in enumerate(["a.jsonl", "b.csv"])
        ]
    )
    (block,), records = read(sources)
    assert [r.place for r in records] == ["0/a.jsonl#0", "0/a.jsonl#1", "1/b.csv#0", "1/b.csv#1"]
    assert [state.file for state in sources.files()] == ["a.jsonl", "b.csv"]
    assert list(sources.rest(())) == list(block.spans)
    assert list(sources.rest(block.spans[:1])) == list(block.spans[1:])
    assert [record.place for record in peek(sources, 3)] == [r.place for r in records[:3]]
    numbered(tmp_path / "a.jsonl", 3)
    _, added = read(sources, [block])
    assert [record.place for record in added] == ["0/a.jsonl#2"]


def test_a_span_of_a_source_that_is_gone(tmp_path: Path) -> None:
    """It is not intact, rather than somebody else's."""
    numbered(tmp_path / "a.jsonl", 2)
    one = opened(tmp_path, "a.jsonl")
    other = open_rows([{"n": 1}], number=1)
    (span,) = other.rest(())
    assert not Sources([one]).intact(span)
    assert Sources([one, other]).intact(span)
