"""Keys: what happens when one is refused, and that none is ever written down."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from mirage.engines.mock import Behaviour, running

from .trial import Trial, questions

KEY = "sk-the-secret-0123456789"


def everything_written(folder: Path) -> bytes:
    return b"\n".join(
        str(path).encode() + path.read_bytes() for path in folder.rglob("*") if path.is_file()
    )


def test_a_refused_key_stops_the_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A 401 ends the run at once, with one line; the key that was refused stands nowhere."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    with running(Behaviour(api_key="another", latency=0.05)) as server:
        trial = Trial(tmp_path, questions(500), server.base_url, engine={"api_key_env": "MY_KEY"})
        began = time.monotonic()
        summary = trial.run()
        assert server.stats.refused <= 16
    assert time.monotonic() - began < 5
    assert summary.exit_code == 4
    assert "\n" not in summary.reason
    assert "MY_KEY" in summary.reason
    assert "***" in summary.reason
    assert not trial.target.exists()
    shown = "".join(capfd.readouterr()) + caplog.text + repr(summary)
    assert KEY not in shown
    assert KEY.encode() not in everything_written(tmp_path)


def test_a_refused_key_stops_what_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 401 does not wait for calls to other endpoints that have not been answered."""
    monkeypatch.setenv("MY_KEY", KEY)
    with running(Behaviour(api_key="another")) as strict, running(Behaviour(hang=1)) as slow:
        trial = Trial(
            tmp_path,
            questions(3),
            engines={
                "strict": {"model_path": "m", "base_url": strict.base_url, "api_key_env": "MY_KEY"},
                "slow": {"model_path": "m", "base_url": slow.base_url},
            },
            outputs=[
                {"name": "a", "prompt": "A {q}", "engine": "slow"},
                {"name": "b", "prompt": "B {q}", "engine": "strict"},
            ],
            output_schema={"a": "{a}", "b": "{b}"},
        )
        del trial.config["engine"]
        began = time.monotonic()
        assert trial.run().exit_code == 4
        assert time.monotonic() - began < 10


def test_an_unset_key_is_said_before_anything_is_called(tmp_path: Path) -> None:
    """A variable that is not set stops the run, and names itself."""
    with running() as server:
        trial = Trial(tmp_path, questions(5), server.base_url, engine={"api_key_env": "NO_KEY"})
        summary = trial.run()
        assert (summary.exit_code, server.stats.connections) == (4, 0)
    assert "NO_KEY" in summary.reason


def test_a_key_is_written_nowhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Keys in the environment, in headers and in a URL are in no file, no output and no log, even
    where the endpoint fails and repeats them.
    """
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setenv("MY_HEADER", f"{KEY}-in-a-header")
    monkeypatch.setenv("MY_QUERY", f"{KEY}-in-a-query")
    with running(Behaviour(share_500=0.2, malformed_body=0.2, api_key=KEY)) as server:
        trial = Trial(tmp_path, questions(100), server.base_url)
        trial.set(
            engine={
                "api_key_env": "MY_KEY", "retries": 0,
                "headers": {"X-Token": "${MY_HEADER}"}, "query": {"code": "${MY_QUERY}"},
            }
        )  # fmt: skip
        summary = trial.run()
        assert summary.counts.failed > 10
        trial.set(engine={"headers": {"X-Token": KEY}})
        trial.retry()
    written = everything_written(tmp_path)
    assert b"manifest" in written
    assert KEY.encode() not in written
    shown = "".join(capfd.readouterr()) + caplog.text + repr(summary)
    assert KEY not in shown
