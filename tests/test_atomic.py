"""Files and folders appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mirage import atomic


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def filled(folder: Path, text: str) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text(text)
    return folder


def test_replacing(tmp_path: Path) -> None:
    """A file takes the place of the old one, in a folder that is made for it."""
    target = tmp_path / "new" / "file"
    for text in (b"old", b"new"):
        with atomic.replacing(target) as temporary:
            temporary.write_bytes(text)
            assert temporary.parent == target.parent
        assert target.read_bytes() == text
    assert names(target.parent) == ["file"]


def test_replacing_that_fails(tmp_path: Path) -> None:
    """An error leaves the old file and nothing else."""
    target = tmp_path / "file"
    target.write_bytes(b"old")
    with pytest.raises(KeyError), atomic.writing(target) as file:
        file.write(b"half")
        raise KeyError
    with pytest.raises(FileNotFoundError), atomic.replacing(target):
        pass
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_long_names(tmp_path: Path) -> None:
    """A name of the greatest length can be replaced: the temporary name does not grow from it."""
    target = tmp_path / ("x" * 255)
    atomic.write_bytes(target, b"1")
    assert target.read_bytes() == b"1"


def test_workspace(tmp_path: Path) -> None:
    """A workspace is gone afterwards, error or not."""
    with pytest.raises(KeyError), atomic.workspace(tmp_path / "a") as room:
        filled(room / "b", "text")
        raise KeyError
    assert names(tmp_path / "a") == []


def test_a_workspace_of_a_killed_process_goes_with_the_next_one(tmp_path: Path) -> None:
    """One in which somebody is at work stays, and so does one of another machine."""
    dead = "import os, sys; from pathlib import Path; from mirage.atomic import workspace\n"
    dead += "with workspace(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", dead, str(tmp_path)], check=False)
    (left,) = names(tmp_path)
    filled(tmp_path / ".mirage-other.tmp", "text")
    (tmp_path / ".mirage-other.tmp" / "elsewhere.lock").touch()
    with atomic.workspace(tmp_path) as first, atomic.workspace(tmp_path) as second:
        assert {*names(tmp_path)} == {".mirage-other.tmp", first.name, second.name}
        assert not (tmp_path / left).exists()
    assert names(tmp_path) == [".mirage-other.tmp"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_replace_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool) -> None:
    """A folder takes the place of none, of an empty one and of a full one, on any file system."""
    if not exchanges:
        monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    target = tmp_path / "target"
    for text in ("first", "second"):
        atomic.replace_folder(filled(tmp_path / "new", text), target)
        assert (target / "sub" / "file").read_text() == text
        assert names(tmp_path) == ["target"]
    (tmp_path / "other").mkdir()
    atomic.replace_folder(filled(tmp_path / "new", "third"), tmp_path / "other")
    assert names(tmp_path) == ["other", "target"]


def test_replace_folder_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the new folder cannot take its place after all, the old one stands again."""
    monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    target, new = filled(tmp_path / "target", "old"), filled(tmp_path / "new", "new")
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if self == new:
            raise OSError(errno.EIO, "no")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="no"):
        atomic.replace_folder(new, target)
    assert (target / "sub" / "file").read_text() == "old"


def test_exchange(tmp_path: Path) -> None:
    """On Linux two folders swap names in one step; a missing one is an error."""
    one, other = filled(tmp_path / "one", "1"), filled(tmp_path / "other", "2")
    if not atomic.exchange(one, other):
        pytest.skip("this file system cannot exchange")
    assert (one / "sub" / "file").read_text() == "2"
    with pytest.raises(FileNotFoundError):
        atomic.exchange(one, tmp_path / "none")


@pytest.mark.parametrize("refusal", [None, errno.EXDEV, errno.ENOSYS])
def test_append(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int | None) -> None:
    """Files are joined byte by byte, in the kernel or, where it declines, here."""
    if refusal is not None:

        def declining(*_: object) -> int:
            raise OSError(refusal, "declined")

        monkeypatch.setattr(os, "copy_file_range", declining, raising=False)
    pieces = [os.urandom(3_000_000), b"", b"tail"]
    handle = os.open(tmp_path / "whole", os.O_WRONLY | os.O_CREAT)
    for number, piece in enumerate(pieces):
        (tmp_path / str(number)).write_bytes(piece)
        atomic.append(tmp_path / str(number), handle)
    os.close(handle)
    assert (tmp_path / "whole").read_bytes() == b"".join(pieces)


def test_copy_does_not_overwrite(tmp_path: Path) -> None:
    """A copy is a new file."""
    (tmp_path / "a").write_bytes(b"a")
    atomic.copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"a"
    with pytest.raises(FileExistsError):
        atomic.copy(tmp_path / "a", tmp_path / "b")
