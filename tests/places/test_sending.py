"""Files on their way to a store: none appears before all were sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mirage.places import RemotePath
from mirage.places.sending import Sending

from .stores import names, store

__all__ = ["store"]


class Upload:
    """An upload of several parts, as a store keeps it until it is told that all are there."""

    def __init__(self, store: Any, name: str) -> None:
        self.store, self.name, self.held = store, name, b""

    def write(self, data: bytes) -> None:
        self.held += data

    def close(self) -> None: ...

    def commit(self) -> None:
        self.store.pipe_file(self.name, self.held)

    def discard(self) -> None:
        self.store.pipe_file("/discarded", b"")


@pytest.fixture
def uploads(store: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The store, with uploads as S3 has them; anything above ten bytes is large."""
    opened = type(store).open

    def open_(self: Any, name: str, mode: str = "rb", **options: Any) -> Any:
        upload = options.get("autocommit") is False
        return Upload(store, name) if upload else opened(self, name, mode, **options)

    monkeypatch.setattr(type(store), "open", open_)
    monkeypatch.setattr("mirage.places.sending.PIECE", 10)
    return store


def test_nothing_appears_before_everything_was_sent(tmp_path: Path, uploads: Any) -> None:
    """Large files and small ones, in order."""
    (tmp_path / "large").write_bytes(b"x" * 25)
    (tmp_path / "small").write_bytes(b"y")
    with Sending() as sending:
        for name in ("large", "small"):
            sending.send(tmp_path / name, RemotePath.of(f"memory://out/{name}"))
        assert names(uploads, "/out") == []
        sending.commit()
    assert names(uploads, "/out") == ["large", "small"]
    assert uploads.cat_file("/out/large") == b"x" * 25


def test_what_was_begun_is_taken_back(tmp_path: Path, uploads: Any) -> None:
    """Where a later file cannot be sent."""
    (tmp_path / "large").write_bytes(b"x" * 25)
    with pytest.raises(FileNotFoundError), Sending() as sending:
        sending.send(tmp_path / "large", RemotePath.of("memory://out/large"))
        sending.send(tmp_path / "none", RemotePath.of("memory://out/none"))
    assert names(uploads, "") == ["discarded"]


def test_a_short_object_is_an_error(
    tmp_path: Path, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrives is counted."""
    (tmp_path / "a").write_bytes(b"whole")
    put = type(store).pipe_file
    monkeypatch.setattr(type(store), "pipe_file", lambda s, name, data: put(s, name, data[:2]))
    with pytest.raises(OSError, match="2 bytes arrived, not 5"), Sending() as sending:
        sending.send(tmp_path / "a", RemotePath.of("memory://out/a"))
        sending.commit()
