"""Compressed files as streams that can be taken up again."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mirage.sources import Bounds, streams
from mirage.sources.streams import ByteStream, Streams

from .reading import opened, read


def test_reading_all_spans_in_order_decompresses_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream that ended one span begins the next, whether or not it was read to its end."""
    made: list[Path] = []

    class Counted(ByteStream):
        def __init__(self, path: Path) -> None:
            made.append(path)
            super().__init__(path)

    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"n": 1}\n' * 1_000))
    source = opened(tmp_path, "a.jsonl.gz")
    spans = list(source.rest((), Bounds(rows=10)))
    monkeypatch.setattr(streams, "ByteStream", Counted)
    assert sum(1 for span in spans for _ in source.read(span)) == 1_000
    assert len(made) == 1


def test_an_idle_stream_is_never_shared(tmp_path: Path) -> None:
    """Two readers at once have a stream each, and each sees its own bytes."""
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes(range(250))))
    kept = Streams()
    with kept.at(path, 0, 10) as one:
        assert one.read(100) == bytes(range(10))
    with kept.at(path, 20, 30) as one, kept.at(path, 15, 30) as other:
        assert one.read(3) == bytes((20, 21, 22))
        assert other.read(3) == bytes((15, 16, 17))
        assert one.read(100) == bytes(range(23, 30))


def test_a_stream_of_a_file_that_changed_is_not_taken_up(tmp_path: Path) -> None:
    """Its position would mean nothing in the new content."""
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"old content"))
    kept = Streams()
    with kept.at(path, 0, 4) as stream:
        assert stream.read(100) == b"old "
    path.write_bytes(gzip.compress(b"brand new content"))
    with kept.at(path, 6) as stream:
        assert stream.read(100) == b"new content"


def test_few_streams_are_kept(tmp_path: Path) -> None:
    """A folder of compressed files does not use up the file descriptors."""
    kept = Streams()
    seen = []
    for number in range(20):
        path = tmp_path / f"{number}.gz"
        path.write_bytes(gzip.compress(b"x"))
        with kept.at(path) as stream:
            seen.append(stream)
    assert sum(not stream.file.closed for stream in seen) == streams.IDLE


def test_what_stands_before_damage_is_read(tmp_path: Path) -> None:
    """Every byte that can be decompressed comes, and then the trouble is told."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"a" * 100) + gzip.compress(b"b" * 100)[:-10])
    with Streams().at(path) as stream:
        assert stream.read(1_000).startswith(b"a" * 100)
        assert stream.trouble() == "the compressed data ends in the middle"
    assert read(opened(tmp_path, "a.jsonl.gz"))[1][-1].fault is not None
