"""Servers that a file lists."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from trust.trial import Trial, questions

from mirage.api import check
from mirage.config.models import EngineConfig
from mirage.errors import ConfigError
from mirage.scale.servers import located


def test_endpoints_out_of_a_file(tmp_path: Path) -> None:
    """One URL a line, beside the configuration; read anew for each run. Other engines stay."""
    listed = EngineConfig(model_path="m", base_url="file:endpoints.txt")
    (tmp_path / "endpoints.txt").write_text("# the servers\nhttp://a/v1\n\n http://b/v1 # busy\n")
    assert located(listed, tmp_path).base_url == ["http://a/v1", "http://b/v1"]
    (tmp_path / "endpoints.txt").write_text("http://c/v1")
    assert located(listed, tmp_path).base_url == ["http://c/v1"]
    one = EngineConfig(model_path="m", base_url="http://a/v1")
    assert located(one, tmp_path) == one


@pytest.mark.parametrize(
    ("text", "says"), [(None, "cannot be read: No such file"), (b"\n# none", "lists no endpoint")]
)
def test_a_file_without_endpoints(tmp_path: Path, text: bytes | None, says: str) -> None:
    """It is a mistake of the configuration, with its place, before anything runs."""
    if text is not None:
        (tmp_path / "endpoints.txt").write_bytes(text)
    trial = Trial(tmp_path, questions(3), "file:endpoints.txt")
    path = tmp_path / "config.yaml"
    path.write_bytes(orjson.dumps(trial.config))
    with pytest.raises(ConfigError, match=says) as caught:
        check(path)
    assert [mistake.path for mistake in caught.value.mistakes] == ["engine.base_url"]
