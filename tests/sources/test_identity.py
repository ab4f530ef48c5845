"""The index of ids that a survey leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mirage.sources import identity
from mirage.sources.identity import Identities, hash64


def test_nobody_waits_for_one_who_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that was stopped amid a span's rows does not keep its successor from the index."""
    monkeypatch.setattr(identity, "WAIT", 0.1)
    ids = Identities(tmp_path / "ids.sqlite", "id")

    def labels() -> Iterator[tuple[str, str]]:
        yield "a", "first"
        ids.add([("a", "successor"), ("b", "successor")])
        yield "c", "first"

    ids.add(labels())
    with ids.owners() as owner:
        spots = [owner(label) for label in "abc"]
    assert spots == [hash64("successor"), hash64("successor"), hash64("first")]
