"""Disks that are full, torn or not there: said clearly, and nothing that can be kept is lost."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirage import api
from mirage.errors import RunError
from mirage.work.block_list import BlockList

from .engine import Scripted
from .trial import Trial, questions

ROWS = 400


@pytest.fixture
def engine() -> Scripted:
    return Scripted()


@pytest.fixture
def trial(tmp_path: Path, engine: Scripted) -> Trial:
    rows = [{"q": f"question {number} ".ljust(400, "x")} for number in range(ROWS)]
    return Trial(tmp_path, rows, engine, run={"block_rows": 200})


def attempt(trial: Trial, block: int = 0) -> Path:
    return trial.run_dir / "blocks" / f"{block:06}" / "attempt-0000.sqlite"


def wound(trial: Trial, damage: Callable[[bytes], bytes]) -> None:
    """A finished run whose first block has lost its part, and whose journal is damaged."""
    trial.run()
    (trial.run_dir / "blocks" / "000000" / "part.json").unlink()
    attempt(trial).write_bytes(damage(attempt(trial).read_bytes()))


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (lambda data: b"", 0),
        (lambda data: data[:100], 0),
        (lambda data: data[: len(data) // 2], 60),
        (lambda data: data[:-1], 170),
        (lambda data: data[:-4096], 150),
        (lambda data: data[:20_000] + b"\0" * 4_096 + data[24_096:], 100),
        (lambda data: b"\0" * len(data), 0),
        (lambda data: b"this is no database" * 500, 0),
    ],
    ids=["empty", "header", "half", "byte", "page", "hole", "zeros", "other"],
)
def test_a_torn_journal(
    trial: Trial, engine: Scripted, damage: Callable[[bytes], bytes], kept: int
) -> None:
    """What a damaged journal still holds is not paid for again; the dataset is the same."""
    wound(trial, damage)
    before = trial.data()
    engine.asked.clear()
    trial.target.unlink()
    assert trial.run().exit_code == 0
    assert trial.data() == before
    assert engine.asked.total() <= 200 - kept
    assert all("question" in prompt for prompt in engine.asked)


def test_a_torn_journal_is_mentioned(trial: Trial) -> None:
    """The summary warns of what was lost."""
    wound(trial, lambda data: data[: len(data) // 2])
    (warning,) = trial.run().warnings
    assert "attempt-0000.sqlite is damaged" in warning


def test_a_torn_journal_with_children(tmp_path: Path) -> None:
    """Children whose entries or answers are lost are asked for again, with the same result."""
    item = {
        "name": "item", "prompt": "{q}", "output_type": "JSON", "many": True,
        "output_schema": ["word"], "format_note": False,
    }  # fmt: skip
    lists = {
        f"question {n}": f'{{"items": [{{"word": "{n}a"}}, {{"word": "{n}b"}}]}}' for n in range(90)
    }
    engine = Scripted({**lists, "Say 3a": None, "Say 80b": None})
    trial = Trial(tmp_path, questions(90), engine)
    trial.set(outputs=[item, {"name": "said", "prompt": "Say {item.word}"}])
    trial.set(output_schema={"q": "{q}", "said": "{said}"})
    wound(trial, lambda data: data[: len(data) * 2 // 3])
    before = trial.data()
    assert trial.run().counts.rows_failed == 2
    assert trial.data() == before
    engine.answers["Say 3a"] = engine.answers["Say 80b"] = "better"
    assert trial.retry().counts.rows_written == 180


def test_a_lost_part_is_made_again(trial: Trial, engine: Scripted) -> None:
    """A part that somebody deleted, or a note that was cut off, costs no call."""
    trial.run()
    before = trial.data()
    engine.asked.clear()
    for name, data in (("part-0001.jsonl", None), ("part.json", b'{"finger')):
        path = trial.run_dir / "blocks" / "000001" / name
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        trial.target.unlink()
        trial.run()
        assert trial.data() == before
    assert not engine.asked


def test_a_run_folder_that_cannot_be(trial: Trial, tmp_path: Path) -> None:
    """A folder that cannot be made, or written to, is one clear error."""
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "run", Path("/proc/mirage")):
        trial.set(run={"dir": str(place)})
        with pytest.raises(RunError, match=str(place.parent)):
            trial.run()


@pytest.mark.parametrize("name", ["blocks.jsonl", "source.json"])
@pytest.mark.parametrize("data", [b"none\n", b"[]\n", b"{}\n", b'{"number": 1, "spans": []}\n'])
def test_a_list_of_blocks_that_is_none(trial: Trial, name: str, data: bytes) -> None:
    """Lines that are no blocks are found again; any other damage is an error that names it."""
    trial.run()
    before = trial.data()
    (trial.run_dir / name).write_bytes(data)
    if data.startswith(b"{") if name == "source.json" else b"number" not in data:
        trial.run()  # an object that names no files: all are looked at
        assert trial.data() == before
        return
    with pytest.raises(RunError, match=name):
        trial.run()


def test_a_block_that_was_cut_off(trial: Trial) -> None:
    """Half a line at the end of the list is a block that is found again."""
    trial.run()
    data = trial.data()
    path = trial.run_dir / "blocks.jsonl"
    whole = BlockList(path).more()
    path.write_bytes(path.read_bytes()[:-20])
    trial.run()
    assert (BlockList(path).more(), trial.data()) == (whole, data)


def test_a_list_of_blocks_that_is_lost_on_the_way(trial: Trial, engine: Scripted) -> None:
    """No dataset is made of what is left; the next run finds the blocks again, and pays nothing."""
    path = trial.run_dir / "blocks.jsonl"
    engine.on_call = lambda number: path.unlink() if number == ROWS else None
    with pytest.raises(RunError, match="lost blocks"):
        trial.run()
    assert not trial.target.exists()
    assert trial.run().counts.written == engine.asked.total() == ROWS


@pytest.mark.parametrize("size", [2_000, 10_000, 50_000, 200_000, 400_000])
def test_a_full_disk(trial: Trial, engine: Scripted, size: int) -> None:
    """Wherever the disk is full, the run ends with one clear error; the next one goes on, and pays
    again for the calls in flight alone.
    """
    trial.set(output_schema={"q": "{q}", "answer": "{answer}", "more": "{answer} " * 5})
    with full_after(size), pytest.raises(RunError) as caught:
        trial.run()
    assert "\n" not in str(caught.value)
    assert not trial.target.exists()
    assert trial.run().exit_code == 0
    assert [row["q"].rstrip("x ") for row in trial.output()] == [
        row["q"] for row in questions(ROWS)
    ]
    assert engine.asked.total() - ROWS <= engine.capacity


def test_a_disk_that_is_full_before_a_run(tmp_path: Path) -> None:
    """The error names the run's folder: the configuration may be on another disk."""
    trial = Trial(tmp_path, questions(3))
    path = trial.file()
    with full_after(0), pytest.raises(RunError, match=str(trial.run_dir)):
        api.run(path)


def test_a_full_disk_while_publishing(trial: Trial, engine: Scripted) -> None:
    """The old dataset stays while the new one cannot be written."""
    trial.run()
    before = trial.data()
    trial.set(output_schema={"q": "{q}", "more": "{answer} " * 2})
    size = 2 * max(path.stat().st_size for path in trial.run_dir.rglob("part-*.jsonl"))
    with full_after(size), pytest.raises(RunError):
        trial.run()
    assert trial.data() == before
    assert not list(trial.folder.glob(".mirage-*"))
    engine.asked.clear()
    trial.run()
    assert trial.data() != before
    assert not engine.asked
