"""Processes that join a run by themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mirage.errors import LockedError
from mirage.report import DONE, ORPHANED, Usage
from mirage.scale import join, token
from mirage.work.rank import Rank


@dataclass
class Part:
    """What came of a process's part of a run."""

    state: str = DONE
    rank: int = 0
    processes: int = 1
    usage: Usage = field(default_factory=lambda: Usage(calls=1))
    folder: Path = Path("run")
    warnings: list[str] = field(default_factory=list)


def test_an_heir_knows_of_the_others(tmp_path: Path) -> None:
    """Who has followed an owner accepts no changes that this one has accepted; an owner who only
    refused it may have died before. That it is alone in the end tells nothing.
    """
    told: list[tuple[bool, bool]] = []

    def work(rank: Rank, accept_changes: bool) -> Part:
        told.append((rank.owns, accept_changes))
        if len(told) == 1:
            raise LockedError("it has an owner")
        return Part(ORPHANED if len(told) == 2 else DONE)

    assert join.join(2, tmp_path, work, accept_changes=True).warnings == []
    assert told == [(True, True), (False, True), (True, False)]


def test_what_an_heir_has_paid(tmp_path: Path) -> None:
    """As one of the others and as the owner, all of it."""
    parts = [Part(ORPHANED, usage=Usage(calls=3)), Part(ORPHANED, usage=Usage(calls=4)), Part()]

    def work(rank: Rank, accept_changes: bool) -> Part:
        return parts.pop(0)

    assert join.join(2, tmp_path, work).usage.calls == 3 + 4 + 1


def test_who_is_alone_is_warned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is known that all see one folder, it is meant to be alone, or nothing was owed."""

    def warned(count: int, part: Part) -> bool:
        return bool(join.join(count, tmp_path, lambda rank, **options: part).warnings)

    assert warned(2, Part())
    assert not warned(1, Part())
    assert not warned(2, Part(processes=2))
    assert not warned(2, Part(usage=Usage()))
    monkeypatch.setenv(token.TOKEN, token.leave(tmp_path))
    assert not warned(2, Part())
