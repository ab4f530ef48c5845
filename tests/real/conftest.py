"""Checkpoints for all tests of this folder, made once. It needs torch: `make test-engines`."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mirage.config.models import EngineConfig
from mirage.engines import open_engine
from mirage.record import Engine

Opened = Callable[..., Engine]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What stands in this folder is `real`: `make test` leaves it out."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny models are slower on several threads, and the machine may have other work."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .checkpoints import write_idefics3, write_llama, write_llava

    folder = tmp_path_factory.mktemp("checkpoints")
    write_llama(folder / "llama")
    write_llama(folder / "clear", clear=True)
    write_llava(folder / "llava")
    write_llava(folder / "clear-llava", clear=True)
    write_idefics3(folder / "idefics3")
    return folder


@pytest.fixture(scope="session")
def ggufs(checkpoints: Path) -> Path:
    from .gguf_copy import write_eyes, write_language_model

    for model in ("llama", "clear", "llava", "clear-llava"):
        write_language_model(checkpoints / model, checkpoints / f"{model}.gguf")
    for model in ("llava", "clear-llava"):
        write_eyes(checkpoints / model, checkpoints / f"{model}-eyes.gguf")
    return checkpoints


@pytest.fixture
def opened(checkpoints: Path) -> Opened:
    """An engine on one of the checkpoints, on the CPU, with continuous batching."""

    def build(model: str = "llama", **keys: Any) -> Engine:
        args = {"device": "cpu", "continuous": True, **keys.pop("args", {})}
        config = EngineConfig(model_path=model, args=args, **{"max_in_flight": 8, **keys})
        return open_engine(config, backend="transformers", name="engine", base=checkpoints)

    return build


@pytest.fixture
def llamacpp(ggufs: Path) -> Opened:
    """llama.cpp on a copy of one of the checkpoints."""

    def build(model: str = "llama", **keys: Any) -> Engine:
        args: dict[str, Any] = {"threads": 1, "context": 1024}
        if "llava" in model:
            args["mmproj"] = f"{model}-eyes.gguf"
        config = EngineConfig(model_path=f"{model}.gguf", args=args, **keys)
        return open_engine(config, backend="llamacpp", name="engine", base=ggufs)

    return build


def drawing(number: int, side: int = 56) -> bytes:
    """A picture that is unlike the others: a gradient between two colours, as PNG."""
    image = Image.new("RGB", (side, side))
    for x in range(side):
        for y in range(side):
            image.putpixel((x, y), ((x * 4 + number * 37) % 256, (y * 4) % 256, number * 50 % 256))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
