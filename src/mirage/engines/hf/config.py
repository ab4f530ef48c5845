"""What the transformers engine is told: which model, which arguments, which sampling.

Everything here is known before torch is loaded, so that mistakes are found before a model is.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from mirage.config import IN_FLIGHT
from mirage.config.models import EngineConfig
from mirage.engines.weights import folder_digest, qualified
from mirage.errors import ConfigError, EngineError, Mistake
from mirage.names import suggest
from mirage.record import Request

MAX_TOKENS = 1024
ARGS: Mapping[str, type] = {
    "device": str,
    "dtype": str,
    "trust_remote_code": bool,
    "attn_implementation": str,
    "revision": str,
    "batch": int,
    "context": int,
    "continuous": bool,
    "num_blocks": int,
    "max_batch_tokens": int,
}
DTYPES = ("auto", "float32", "bfloat16", "float16")
SAMPLING = ("temperature", "top_p", "top_k", "max_tokens", "ignore_eos")
NEEDED = ("torch", "transformers", "llguidance")
HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


class Settings(Struct, frozen=True):
    """`model` is a folder or a hub id; `template` is the text of a chat template, if one is given;
    `options` go along to the template. `batch` is how many sequences are generated together.
    """

    model: str
    template: str | None
    options: Mapping[str, Any]
    in_flight: int
    batch: int
    timeout: float
    args: Mapping[str, Any]

    @property
    def local(self) -> bool:
        return Path(self.model).is_dir()

    @property
    def revision(self) -> str:
        return str(self.args.get("revision", "main"))

    @property
    def sees(self) -> bool:
        """Whether a folder looks like a model that takes images; the loaded model decides."""
        folder = Path(self.model)
        names = ("preprocessor_config.json", "processor_config.json")
        return not self.local or any((folder / name).is_file() for name in names)


def settings(config: EngineConfig, name: str, base: Path) -> Settings:
    """Raises ConfigError with all that is wrong."""
    mistakes = [*_missing_packages(name), *_wrong_args(config, name)]
    for key in sorted(config.sampling.model_extra or {}):
        if key not in SAMPLING:
            message = f"'{key}' is not known to this engine{suggest(key, SAMPLING)}"
            mistakes.append(Mistake(f"{name}.sampling.{key}", message))
    for key in sorted(set(config.extra_body) - {"chat_template_kwargs"}):
        message = "this engine sends no body: only chat_template_kwargs can be given"
        mistakes.append(Mistake(f"{name}.extra_body.{key}", message))
    options = config.extra_body.get("chat_template_kwargs", {})
    if not isinstance(options, Mapping):
        where = f"{name}.extra_body.chat_template_kwargs"
        mistakes.append(Mistake(where, "must be names and values"))
    model = _model(config, name, base, mistakes)
    template = _template(config, name, base, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    in_flight = config.max_in_flight or IN_FLIGHT
    return Settings(
        model=model,
        template=template,
        options=options,
        in_flight=in_flight,
        batch=config.args.get("batch") or max(1, in_flight // 2),
        timeout=config.timeout,
        args=config.args,
    )


def model_identity(config: EngineConfig, base: Path) -> str:
    """The model as request keys know it.

    A folder is its content, the weights sampled; a hub id is its name and revision. The number
    format, the chat template and its options decide answers as well.
    """
    given = settings(config, "engine", base)
    local = given.local
    model = folder_digest(Path(given.model)) if local else f"{given.model}@{given.revision}"
    extras = {"dtype": given.args.get("dtype"), "template": given.template, **given.options}
    extras = {key: value for key, value in extras.items() if value is not None}
    return qualified(f"hf:{model}", extras)


class Asked(Struct, frozen=True):
    """The sampling of one request. `seed` is None where the likeliest token is taken."""

    temperature: float
    top_p: float
    top_k: int
    limit: int
    ignore_eos: bool
    seed: int | None


def asked(request: Request) -> Asked:
    """Raises EngineError for what this engine does not know."""
    given = {key: value for key, value in request.sampling.items() if value is not None}
    for key in given:
        if key not in SAMPLING:
            message = f"'{key}' is not known to this engine{suggest(key, SAMPLING)}"
            raise EngineError("sampling", message)
    temperature = float(given.get("temperature", 0.0))
    seed = request.seed if request.seed is not None else 0
    return Asked(
        temperature=temperature,
        top_p=float(given.get("top_p", 1.0)),
        top_k=int(given.get("top_k", 0)),
        limit=int(given.get("max_tokens", MAX_TOKENS)),
        ignore_eos=bool(given.get("ignore_eos", False)),
        seed=seed if temperature > 0 else None,
    )


def _missing_packages(name: str) -> Iterator[Mistake]:
    missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        hint = f'needs {", ".join(missing)}: pip install "mirage-engine[transformers]"'
        yield Mistake(f"{name}.backend", hint)


def _wrong_args(config: EngineConfig, name: str) -> Iterator[Mistake]:
    for key, value in config.args.items():
        path = f"{name}.args.{key}"
        if key not in ARGS:
            yield Mistake(path, f"'{key}' is not an argument of this engine{suggest(key, ARGS)}")
        elif type(value) is not ARGS[key]:
            yield Mistake(path, f"'{key}' must be of type {ARGS[key].__name__}")
        elif type(value) is int and value < 1:
            yield Mistake(path, f"'{key}' must be 1 or more")
        elif key == "dtype" and value not in DTYPES:
            yield Mistake(
                path, f"'{key}' is one of {', '.join(DTYPES)}{suggest(str(value), DTYPES)}"
            )


def _model(config: EngineConfig, name: str, base: Path, mistakes: list[Mistake]) -> str:
    given = config.model_path or ""
    folder = base / Path(given).expanduser()
    message = ""
    if not given:
        message = "missing: a folder, or the id of a model on the hub"
    elif given.lower().endswith(".gguf"):
        message = "a GGUF file: `backend: llamacpp` runs it"
    elif folder.is_dir():
        if not (folder / "config.json").is_file():
            message = f"{folder} is no model: it holds no config.json"
    elif folder.exists() or not HUB_ID.fullmatch(given):
        message = f"no such folder: {folder}"
    if message:
        mistakes.append(Mistake(f"{name}.model_path", message))
    return str(folder) if folder.is_dir() else given


def _template(config: EngineConfig, name: str, base: Path, mistakes: list[Mistake]) -> str | None:
    given = config.chat_template
    if given is None or "{" in given:
        return given
    try:
        return (base / Path(given).expanduser()).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        message = f"neither a template (Jinja) nor a file that holds one: {given}"
        mistakes.append(Mistake(f"{name}.chat_template", message))
        return None
