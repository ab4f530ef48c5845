"""What `run.fetch` says becomes what fetches images, and what of it counts for the outcomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from mirage.config import load_config
from mirage.media.fetch import Limits
from mirage.plan import Plan, build


def plan(folder: Path, **run: Any) -> Plan:
    config = {
        "source": {"path": "in.jsonl"},
        "engine": {"backend": "fake"},
        "inputs": [{"name": "photo", "key": "image", "type": "image"}],
        "outputs": [{"name": "text", "prompt": "Describe it"}],
        "output_schema": {"text": "{text}"},
        "run": run,
    }
    path = folder / "config.yaml"
    path.write_bytes(orjson.dumps(config))
    return build(load_config(path))


def test_nothing_is_fetched_unasked(tmp_path: Path) -> None:
    """Without the key there is nothing that could fetch."""
    assert plan(tmp_path).web is None


def test_as_usual(tmp_path: Path) -> None:
    """An empty mapping fetches within the usual limits, into a folder beside the configuration."""
    web = plan(tmp_path, fetch={}).web
    assert web is not None
    assert web.limits == Limits()
    assert (web.cache, web.dead, web.per_host) == (str(tmp_path / "runs/fetched"), "fail", 8)


def test_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key reaches its place; the cache may come from the environment."""
    monkeypatch.setenv("IMAGES", str(tmp_path / "elsewhere"))
    limits = {"timeout": 1, "max_bytes": 2, "redirects": 3, "retries": 4, "private": True}
    fetch = {**limits, "cache": "${IMAGES}/a", "per_host": 5, "dead": "drop"}
    made = plan(tmp_path, fetch=fetch)
    assert made.web is not None
    assert made.web.limits == Limits(1, 2, 3, 4, True)
    assert made.web.cache == str(tmp_path / "elsewhere/a")
    assert (made.web.dead, made.web.per_host) == ("drop", 5)
    assert all(variable.web is made.web for variable in made.inputs)


def test_what_counts(tmp_path: Path) -> None:
    """What becomes of dead images decides outcomes; how the others are fetched does not."""
    usual = plan(tmp_path, fetch={}).fingerprint
    assert plan(tmp_path, fetch={"timeout": 5, "private": True}).fingerprint == usual
    assert plan(tmp_path, fetch={"dead": "drop"}).fingerprint != usual
    assert plan(tmp_path).fingerprint != usual


def test_who_is_sent_images(tmp_path: Path) -> None:
    """The engines that are sent images are known, with an output that does so."""
    assert plan(tmp_path).seeing == {"default": "text"}
