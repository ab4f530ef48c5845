"""Processes on several machines that do not see the same folder."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from trust.trial import Trial, questions

from mirage import api
from mirage.errors import RunError
from mirage.scale import token
from mirage.work.rank import Rank


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(token, "PATIENCE_SECONDS", 0.0)
    path = tmp_path / "config.yaml"
    path.write_bytes(orjson.dumps(Trial(tmp_path, questions(3)).config))
    return path


def test_a_token_that_was_left(tmp_path: Path) -> None:
    """Whoever sees the folder finds it; nobody finds another."""
    token.find(tmp_path, token.leave(tmp_path))


def test_a_worker_of_ray_with_another_disk(config: Path) -> None:
    """It says so before it asks anything."""
    with pytest.raises(RunError, match="is not the folder that this run was started from"):
        api.follow(str(config), {}, Rank(1, 2, "a token of the driver", elected=True))


def test_a_job_with_another_disk(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not become the owner of a run of its own."""
    monkeypatch.setenv(token.TOKEN, "a token of the launch")
    with pytest.raises(RunError, match="a path that means the same disk everywhere"):
        api.run(config, join=2)
    monkeypatch.setenv(token.TOKEN, token.leave(config.parent / "run"))
    assert api.run(config, join=2).counts.written == 3
