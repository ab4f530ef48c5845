"""The transformers engine before torch is loaded: mistakes, identity, sampling.

What needs torch stands in tests/real.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mirage.config.models import EngineConfig
from mirage.engines import identity, open_engine
from mirage.engines.hf import config as hf_config
from mirage.errors import ConfigError, EngineError

from ..asking import request


@pytest.fixture(autouse=True)
def all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if torch were installed, whether it is or not."""
    monkeypatch.setattr(hf_config, "NEEDED", ())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama"}')
    (model / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "plain").write_text("no folder")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("keys", "path", "says"),
    [
        ({}, "model_path", "missing"),
        ({"model_path": "./nowhere"}, "model_path", "no such folder"),
        ({"model_path": "plain"}, "model_path", "no such folder"),
        ({"model_path": "empty"}, "model_path", "no config.json"),
        ({"model_path": "x.gguf"}, "model_path", "llamacpp"),
        ({"args": {"devcie": "cpu"}}, "args.devcie", "did you mean 'device'"),
        ({"args": {"batch": 0}}, "args.batch", "1 or more"),
        ({"args": {"batch": True}}, "args.batch", "type int"),
        ({"args": {"dtype": "bfloat"}}, "args.dtype", "did you mean 'bfloat16'"),
        ({"sampling": {"topk": 3}}, "sampling.topk", "did you mean 'top_k'"),
        ({"chat_template": "qwen2-vl"}, "chat_template", "neither"),
        ({"extra_body": {"top_k": 3}}, "extra_body.top_k", "chat_template_kwargs"),
        ({"extra_body": {"chat_template_kwargs": 3}}, "extra_body.chat_template_kwargs", "must"),
    ],
)
def test_mistakes_are_found_before_loading(
    folder: Path, keys: dict[str, Any], path: str, says: str
) -> None:
    """Each names its key and says what would do."""
    given = {"model_path": "model", **keys} if keys else {}
    with pytest.raises(ConfigError) as caught:
        open_engine(EngineConfig(**given), backend="transformers", name="engine", base=folder)
    (mistake,) = caught.value.mistakes
    assert mistake.path == f"engine.{path}" and says in mistake.message


def test_what_is_not_installed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake says what to install."""
    monkeypatch.setattr(hf_config, "NEEDED", ("torch_that_nobody_has",))
    with pytest.raises(ConfigError, match=r"mirage-engine\[transformers\]"):
        identity(EngineConfig(model_path="model"), "transformers", folder)


def test_opening_loads_no_torch(folder: Path) -> None:
    """What is heavy is loaded at the start, not when a configuration is checked."""
    program = (
        "import sys; from pathlib import Path\n"
        "from mirage.config.models import EngineConfig\n"
        "from mirage.engines import open_engine\n"
        "from mirage.engines.hf import config as hf_config\n"
        "hf_config.NEEDED = ()\n"
        "open_engine(EngineConfig(model_path='model'), backend='transformers', name='e',"
        " base=Path(sys.argv[1]))\n"
        "print(sorted({'torch', 'transformers', 'PIL', 'numpy'} & {*sys.modules}))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, check=True
    )
    assert shown.stdout == b"[]\n"


def test_identity_is_content_template_and_format(folder: Path) -> None:
    """Another name is the same model; other weights, template, options or numbers are not."""
    plain = EngineConfig(model_path="model")
    before = identity(plain, "transformers", folder)
    (folder / "model").rename(folder / "renamed")
    moved = {"model_path": "renamed", "max_in_flight": 2, "args": {"device": "cpu", "batch": 3}}
    plain = plain.model_copy(update=moved)
    assert identity(plain, "transformers", folder) == before
    changes: list[dict[str, Any]] = [
        {"args": {"dtype": "float16"}},
        {"chat_template": "{{ messages }}"},
        {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    ]
    found = {
        identity(plain.model_copy(update=change), "transformers", folder) for change in changes
    }
    (folder / "renamed" / "model.safetensors").write_bytes(b"Weights")
    found.add(identity(plain, "transformers", folder))
    assert len(found | {before}) == 5


def test_a_hub_id_is_name_and_revision(folder: Path) -> None:
    """Nothing is asked of the hub to know it."""
    hub = EngineConfig(model_path="owner/name")
    pinned = hub.model_copy(update={"args": {"revision": "abc"}})
    assert identity(hub, "transformers", folder) == "hf:owner/name@main"
    assert identity(pinned, "transformers", folder) == "hf:owner/name@abc"


def test_sampling_is_read_strictly() -> None:
    """Zero is greedy; a temperature needs the draw's seed; what is unknown is an error."""
    assert hf_config.asked(request("x")).seed is None
    drawn = hf_config.asked(request("x", temperature=0.7, top_p=0.5, top_k=4, draw="a"))
    assert (drawn.temperature, drawn.top_p, drawn.top_k) == (0.7, 0.5, 4)
    assert drawn.seed == request("x", temperature=0.7, draw="a").seed
    with pytest.raises(EngineError, match="did you mean 'top_p'"):
        hf_config.asked(request("x", topp=0.5))
