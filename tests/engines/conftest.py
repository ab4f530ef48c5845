"""Repeats follow each other at once here: what is tested is that they come, not the waiting."""

from __future__ import annotations

import pytest

from mirage.engines import retry


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(retry, "LONGEST_WAIT", 0.02)
