"""Rows out of a store: the same as from disk, in every format that is read from there."""

from __future__ import annotations

import gzip
import io
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from places.stores import store

from mirage.errors import SourceChangedError
from mirage.places import RemotePath, relative
from mirage.sources.blocks import Bounds
from mirage.sources.find import find, holds

from .reading import opened

__all__ = ["store"]

SEVEN = Bounds(rows=7)
ROWS = [{"n": number, "text": f"row {number}"} for number in range(25)]
LINES = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)


def table() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), buffer, row_group_size=4)
    return buffer.getvalue()


def shard() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for row in ROWS:
            info = tarfile.TarInfo(f"{row['n']:06}.json")
            info.size = len(data := orjson.dumps(row))
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


FILES = {
    "a.jsonl": LINES,
    "a.jsonl.gz": gzip.compress(LINES),
    "a.jsonl.zst": zstandard.compress(LINES),
    "a.json": orjson.dumps(ROWS),
    "a.csv": b"n,text\n" + b"".join(f"{r['n']},{r['text']}\n".encode() for r in ROWS),
    "a.parquet": table(),
    "a.tar": shard(),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_read_as_from_disk(name: str, store: Any, tmp_path: Path) -> None:
    """Cut into the same spans, with the same rows and the same digests of them."""
    (tmp_path / name).write_bytes(FILES[name])
    store.pipe_file(f"/bucket/in/{name}", FILES[name])
    here = opened(tmp_path, name)
    far = opened(tmp_path, f"memory://bucket/in/{name}")
    pairs = list(zip(here.rest((), SEVEN), far.rest((), SEVEN), strict=True))
    assert len(pairs) >= 4
    for mine, theirs in pairs:
        assert (mine.file, mine.start, mine.stop, mine.row) == (
            *(theirs.file, theirs.start, theirs.stop, theirs.row),
        )
        assert list(here.read(mine)) == list(far.read(theirs))
        assert far.intact(theirs)
        assert far.weight(theirs) == here.weight(mine)


def found(name: str, format: str | None = None) -> list[str]:
    what = find(Path(), name, format)
    return [relative(path, what.root) for path in what.paths]


def test_files_folders_and_globs(store: Any) -> None:
    """In natural order, hidden ones passed over, names relative as on disk."""
    for name in (
        "d/part-10.jsonl",
        "d/part-2.jsonl",
        "d/sub/a.jsonl",
        "d/.x.jsonl",
        "d/.y/z.jsonl",
    ):
        store.pipe_file(f"/bucket/{name}", b"{}\n")
    assert found("memory://bucket/d") == ["part-2.jsonl", "part-10.jsonl", "sub/a.jsonl"]
    assert found("memory://bucket/d/") == found("memory://bucket/d")
    assert found("memory://bucket/d/part-*.jsonl") == ["part-2.jsonl", "part-10.jsonl"]
    assert found("memory://bucket/**/*.jsonl") == [
        *("d/part-2.jsonl", "d/part-10.jsonl", "d/sub/a.jsonl"),
    ]
    assert found("memory://bucket/d/part-2.jsonl") == ["part-2.jsonl"]


@pytest.mark.parametrize(
    ("names", "path", "said"),
    [
        ((), "in.jsonl", "in.jsonl does not exist"),
        ((), "in-*.jsonl", "no file matches"),
        (("d/a.jsonl", "d/b.csv"), "d", "several formats"),
        (("d/a.png", "d/metadata.jsonl"), "d", "folder of images"),
        (("d/a.arrow",), "d", "mapped into memory"),
        (("d/a.jsonl.xz", "d/a.jsonl"), "d", "cannot be read"),
    ],
)
def test_what_is_not_read(names: tuple[str, ...], path: str, said: str, store: Any) -> None:
    """One clear line for each."""
    for name in names:
        store.pipe_file(f"/bucket/{name}", b"{}\n")
    with pytest.raises(ValueError, match=said) as caught:
        find(Path(), f"memory://bucket/{path}")
    assert "\n" not in str(caught.value)


def test_a_replaced_object_is_noticed(store: Any, tmp_path: Path) -> None:
    """By the next run; one that has only grown is read on."""
    store.pipe_file("/bucket/a.jsonl", LINES)
    before = opened(tmp_path, "memory://bucket/a.jsonl")
    spans, states = list(before.rest((), SEVEN)), list(before.files())
    assert states == list(opened(tmp_path, "memory://bucket/a.jsonl").files())
    store.pipe_file("/bucket/a.jsonl", LINES + b'{"n": 25}\n')
    grown = opened(tmp_path, "memory://bucket/a.jsonl")
    assert states != list(grown.files())
    assert all(map(grown.intact, spans))
    assert [span.rows for span in grown.rest(spans, SEVEN)] == [1]
    store.pipe_file("/bucket/a.jsonl", LINES.replace(b"row 3", b"row X"))
    changed = opened(tmp_path, "memory://bucket/a.jsonl")
    assert [changed.intact(span) for span in spans] == [False, True, True, True]
    store.rm_file("/bucket/a.jsonl")
    with pytest.raises(SourceChangedError, match="cannot be read any more"):
        list(before.read(spans[0]))


def test_a_server_that_tells_no_time(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether an object was replaced can only be told by its rows: all of them is read again."""
    monkeypatch.setattr("mirage.places.remote.TIMES", ())
    store.pipe_file("/bucket/a.parquet", table())
    source = opened(tmp_path, "memory://bucket/a.parquet")
    for span in source.rest((), Bounds(rows=3)):
        before = list(source.read(span))
        assert list(source.read_again(span, frozenset({"n"}))) == before
        assert all(record.digest for record in before)


def test_a_table_replaced_in_its_store(store: Any, tmp_path: Path) -> None:
    """After it was surveyed: no row of the other object is taken for one of this."""
    store.pipe_file("/bucket/a.parquet", table())
    source = opened(tmp_path, "memory://bucket/a.parquet")
    spans = list(source.rest((), SEVEN))
    assert len(list(source.read(spans[0]))) == spans[0].rows
    store.pipe_file("/bucket/a.parquet", table())
    with pytest.raises(SourceChangedError, match=r"a\.parquet changed"):
        list(source.read(spans[1]))


def test_a_row_is_named_by_its_byte(store: Any, tmp_path: Path) -> None:
    """To count lines, all that stands before would have to be read."""
    store.pipe_file("/bucket/a.jsonl", b'{"n": 1}\n[]\n')
    source = opened(tmp_path, "memory://bucket/a.jsonl")
    _, second = (record for span in source.rest(()) for record in source.read(span))
    assert second.fault is not None
    assert "a.jsonl:byte 9: an object is wanted" in second.fault.message


def test_what_is_written_must_not_be_read(tmp_path: Path) -> None:
    """A dataset among the files of its source; one beside them, or on this machine, is none."""

    def within(name: str, place: str) -> bool:
        return holds(tmp_path, name, RemotePath.of(place))

    assert within("memory://b/in", "memory://b/in/out.jsonl")
    assert within("memory://b/*/x.jsonl", "memory://b/in/x.jsonl")
    assert within("memory://b/in/x.jsonl", "memory://b/in")
    assert not within("memory://b/in", "memory://b/in2/out.jsonl")
    assert not within("in", "memory://b/in/out.jsonl")
    assert not holds(tmp_path, "memory://b/in", tmp_path / "out.jsonl")


def test_a_file_of_the_web(tmp_path: Path) -> None:
    """One file at an address, whose signature is sent and not shown; there are no folders."""
    pytest.importorskip("aiohttp")
    asked: list[str] = []

    class Site(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *args: Any) -> None: ...

    (tmp_path / "a.jsonl").write_bytes(LINES)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Site, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        source = opened(tmp_path, f"{url}/a.jsonl?sig=abc")
        (span,) = source.rest(())
        assert span.file == "a.jsonl"
        assert [record.values for record in source.read(span)] == ROWS
        assert {*asked} == {"/a.jsonl?sig=abc"}
        with pytest.raises(ValueError, match="the web has no folders") as caught:
            opened(tmp_path, f"{url}/b.jsonl?sig=abc")
        assert "abc" not in str(caught.value)
    finally:
        server.shutdown()
        server.server_close()
