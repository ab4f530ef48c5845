"""The one place that chooses among engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mirage.config.models import EngineConfig
from mirage.engines import identity, open_engine
from mirage.errors import ConfigError


def test_importing_loads_no_engine() -> None:
    """The factory can be imported without any HTTP client, llama.cpp, Pillow or PyArrow."""
    heavy = "{'pycurl', 'xllamacpp', 'PIL', 'pyarrow', 'numpy', 'mirage.engines.openai'}"
    program = f"import sys, mirage.engines; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert shown.stdout == b"[]\n"


def test_backends_to_come_are_named() -> None:
    """A backend that this version does not serve is a mistake that lists those that it does."""
    with pytest.raises(ConfigError, match="openai, llamacpp, fake"):
        open_engine(EngineConfig(), backend="vllm", name="engine", base=Path())
    with pytest.raises(ConfigError, match="openai, llamacpp, fake"):
        identity(EngineConfig(), "sglang")


def test_the_fakes_identity_is_what_it_says() -> None:
    """Arguments that change its answers change its identity; its latency does not."""
    plain = identity(EngineConfig(), "fake")
    assert identity(EngineConfig(args={"latency": 1}), "fake") == plain
    assert identity(EngineConfig(args={"reply": "x"}), "fake") != plain
