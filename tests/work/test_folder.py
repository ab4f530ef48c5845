"""A run's folder: its blocks, what is finished, and whether the source is what it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from mirage.errors import RunError, SourceChangedError
from mirage.record import FileState, Record, Span
from mirage.report import Counts, Tally, Usage
from mirage.sources.blocks import Block
from mirage.work.folder import PartNote, Rejected, RunFolder

NOTE = PartNote(
    fingerprint="f",
    sink="s",
    part="part-0001.jsonl",
    attempts=1,
    counts=Counts(read=2, written=1, failed=1, failures=Tally({"parse/json": 1})),
    usage=Usage(calls=3, seconds=0.5),
    rejected=[Rejected(1, -1, "sink", "type")],
    watches=True,
    spoiled=1,
)


class Shelf:
    """A source of which only the state matters: files with their times, and what has changed."""

    def __init__(self, **times: int) -> None:
        self.times = times
        self.changed: set[str] = set()
        self.looked: list[str] = []

    def files(self) -> Iterator[FileState]:
        return (FileState(name, 1, time) for name, time in self.times.items())

    def read(self, span: Span) -> Iterator[Record]:
        raise NotImplementedError

    def intact(self, span: Span) -> bool:
        self.looked.append(span.file)
        return span.file in self.times and span.file not in self.changed


def block(number: int, *files: str) -> Block:
    return Block(number, tuple(Span(file, 0, 9, 0, 3, "d") for file in files))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def finish(folder: RunFolder, number: int = 0) -> None:
    folder.block(number).mkdir(parents=True, exist_ok=True)
    (folder.block(number) / "attempt-0000.sqlite").touch()
    folder.part(number, 1, ".jsonl").touch()
    folder.set_note(number, NOTE)


def test_blocks_are_kept_in_order(folder: RunFolder) -> None:
    """Blocks come back as they were stored; before the first there is nothing."""
    assert folder.blocks() == []
    stored = [block(0, "a", "b"), block(1, "c")]
    for each in stored:
        folder.block_list().append(each)
    assert folder.blocks() == stored
    folder.block_list().append(stored[0])
    assert folder.blocks() == stored
    with pytest.raises(RunError, match=r"blocks\.jsonl is damaged: block 0 follows 2"):
        folder.block_list().append(block(0, "another"))


def test_what_is_finished(folder: RunFolder) -> None:
    """A part counts for the plan and the sink that made it, while it is there and no attempt has
    come after it.
    """
    assert folder.finished(0, "f", "s") is None
    finish(folder)
    assert folder.finished(0, "f", "s") == NOTE
    assert folder.finished(0, "other", "s") is None
    assert folder.finished(0, "f", "other") is None
    later = folder.block(0) / "attempt-0001.sqlite"
    later.touch()
    assert folder.finished(0, "f", "s") is None
    later.unlink()
    folder.part(0, 1, ".jsonl").unlink()
    assert folder.finished(0, "f", "s") is None


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"fingerprint": "f"}'])
def test_a_note_that_is_none(folder: RunFolder, data: bytes) -> None:
    """A torn note, or one of another version, says nothing."""
    finish(folder)
    (folder.block(0) / "part.json").write_bytes(data)
    assert folder.note(0) is None


def test_every_block_needs_its_part(folder: RunFolder) -> None:
    """The sums are never made over some of the blocks only."""
    for number in range(2):
        folder.block_list().append(block(number, "a"))
    finish(folder)
    with pytest.raises(RunError, match="1 blocks"):
        folder.notes()
    finish(folder, 1)
    assert folder.notes() == [NOTE, NOTE]
    folder.drop_note(1)
    assert folder.note(1) is None


def test_only_what_was_touched_is_read_again(folder: RunFolder) -> None:
    """Files with their old time are trusted, others are looked at; more files are no change."""
    folder.block_list().append(block(0, "a", "b"))
    folder.set_files(FileState(name, 1, 7) for name in "ab")
    source = Shelf(a=7, b=8, c=9)
    assert folder.check_source(source) == list(source.files())
    assert source.looked == ["b"]


def test_what_was_never_noted_is_read_again(folder: RunFolder) -> None:
    """Without a note of the files, as after an early kill, nothing is trusted."""
    folder.block_list().append(block(0, "a", "b"))
    source = Shelf(a=7, b=7)
    source.changed = {"b"}
    with pytest.raises(SourceChangedError, match="b: rows 1 to 3"):
        folder.check_source(source)
    assert source.looked == ["a", "b"]


def test_a_file_that_has_gone(folder: RunFolder) -> None:
    """It is named."""
    folder.block_list().append(block(0, "a", "b"))
    folder.set_files(FileState(name, 1, 7) for name in "ab")
    with pytest.raises(SourceChangedError, match="lost b"):
        folder.check_source(Shelf(a=7))


def test_starting_over_keeps_the_old_blocks(folder: RunFolder) -> None:
    """The blocks are found anew, more than once if need be, and the old ones stay beside them,
    unless somebody needs the room.
    """
    for expected in (0, 1, 2, 0):
        if not expected:
            shutil.rmtree(folder.root / "blocks.before-0", ignore_errors=True)
        folder.block_list().append(block(0, "a"))
        finish(folder)
        folder.start_over()
        assert (folder.blocks(), folder.files()) == ([], [])
        assert (folder.root / f"blocks.before-{expected}" / "000000").is_dir()
    assert folder.carried.exists()


def test_a_dataset_is_known_by_how_it_lies(folder: RunFolder, tmp_path: Path) -> None:
    """Another sink, part or dataset has another stamp, and a missing dataset has none."""
    part, target = tmp_path / "part", tmp_path / "out.jsonl"
    part.write_text("x")
    assert folder.stamp("s", [part], target) == ""
    target.write_text("x")
    first = folder.stamp("s", [part], target)
    assert first == folder.stamp("s", [part], target) != folder.stamp("t", [part], target)
    target.write_text("xy")
    assert first != folder.stamp("s", [part], target)
    second = folder.stamp("s", [part], target)
    part.write_text("xyz")
    assert second != folder.stamp("s", [part], target)


def test_leftovers_of_the_killed_are_removed(folder: RunFolder) -> None:
    """Files and folders half-written go; what counts stays."""
    finish(folder)
    before = sorted(folder.root.rglob("*"))
    (folder.block(0) / ".mirage-1.tmp").mkdir()
    (folder.block(0) / ".mirage-1.tmp" / "0").touch()
    (folder.root / ".mirage-2.tmp").touch()
    (folder.root / "clock-1").touch()
    folder.sweep()
    assert sorted(folder.root.rglob("*")) == before


def test_a_note_survives_being_written(folder: RunFolder) -> None:
    """Counters, usage and rejected rows come back as they were."""
    finish(folder)
    assert folder.note(0) == NOTE
    assert replace(NOTE, rejected=[]) != folder.note(0)
