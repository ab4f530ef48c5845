"""The models that ship, as one engine: `llamacpp:demo`.

A question with a picture goes to the model that sees, any other one to the model that reads. Both
are tiny, know the jobs of `mirage demo`, and share one window.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from mirage.config.models import EngineConfig
from mirage.engines.llama.engine import LlamaEngine, model_identity
from mirage.engines.window import AdaptiveWindow
from mirage.errors import ConfigError, Mistake
from mirage.record import Abilities, Completion, Request, Window

FOLDER = "recipes/demo"
READER, SEER, PROJECTOR = "model.gguf", "seeing.gguf", "seeing-mmproj.gguf"


def demo_identity(config: EngineConfig) -> str:
    """Both models, as request keys know them."""
    return "+".join(model_identity(each, Path()) for each in _models(config, "engine"))


class DemoEngine:
    """`args` are those of the embedded engine; `mmproj` is refused: the eyes are there already."""

    def __init__(self, config: EngineConfig, *, name: str) -> None:
        self._reader, self._seer = (
            LlamaEngine(each, name=name, base=Path()) for each in _models(config, name)
        )
        self.capacity = self._reader.capacity
        self._window = AdaptiveWindow(self.capacity, rpm=config.rpm, tpm=config.tpm)
        self.window: Window = self._window
        both = f"{READER}, {SEER}"
        self.details: dict[str, Any] = {**self._reader.details, "model": both}

    @property
    def abilities(self) -> Abilities:
        """Those of the model that sees: it does all that the other one does, and takes pictures."""
        return self._seer.abilities

    async def start(self) -> None:
        await self._reader.start()
        await self._seer.start()

    async def complete(self, request: Request) -> Completion:
        seen = any(message.pictures for message in request.messages)
        answer = await (self._seer if seen else self._reader).complete(request)
        self._window.answered(answer.prompt_tokens + answer.completion_tokens)
        return answer

    async def close(self) -> None:
        await self._reader.close()
        await self._seer.close()


def _models(config: EngineConfig, name: str) -> tuple[EngineConfig, EngineConfig]:
    """The configurations of the two models: the one that reads, the one that sees."""
    if "mmproj" in config.args:
        problem = "the demonstration model has a projector of its own; take this line out"
        raise ConfigError([Mistake(f"{name}.args.mmproj", problem)])
    folder = Path(str(resources.files("mirage"))) / FOLDER
    reader = config.model_copy(update={"model_path": str(folder / READER)})
    args = {**config.args, "mmproj": str(folder / PROJECTOR)}
    seer = config.model_copy(update={"model_path": str(folder / SEER), "args": args})
    return reader, seer
