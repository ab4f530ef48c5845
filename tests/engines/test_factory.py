"""The one place that chooses among engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mirage.config.engines import BACKENDS, SERVED
from mirage.config.models import EngineConfig
from mirage.engines import identity, open_engine
from mirage.errors import ConfigError


def test_importing_loads_no_engine() -> None:
    """The factory can be imported without any HTTP client, llama.cpp, Pillow or PyArrow."""
    heavy = "{'torch', 'pycurl', 'xllamacpp', 'PIL', 'pyarrow', 'numpy', 'mirage.engines.openai'}"
    program = f"import sys, mirage.engines; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert shown.stdout == b"[]\n"


def test_backends_nobody_knows_are_refused() -> None:
    """The mistake lists those that are served: all that a configuration can name."""
    listed = "one of openai, sglang, vllm, transformers, llamacpp, fake"
    with pytest.raises(ConfigError, match=listed):
        open_engine(EngineConfig(), backend="nonesuch", name="engine", base=Path())
    with pytest.raises(ConfigError, match=listed):
        identity(EngineConfig(), "nonesuch")
    assert {*SERVED} == {*BACKENDS}


def test_the_fakes_identity_is_what_it_says() -> None:
    """Arguments that change its answers change its identity; its latency does not."""
    plain = identity(EngineConfig(), "fake")
    assert identity(EngineConfig(args={"latency": 1}), "fake") == plain
    assert identity(EngineConfig(args={"reply": "x"}), "fake") != plain
