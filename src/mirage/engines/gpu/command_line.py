"""The command lines of `python -m sglang.launch_server` and `vllm serve`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from mirage.engines.gpu.config import SGLANG, Settings
from mirage.engines.gpu.signatures import Signatures

SGLANG_DEFAULTS = {"sampling_defaults": "openai"}
VLLM_DEFAULTS = {"generation_config": "vllm"}
"""Sampling is what the configuration says, and nothing that a model brings along unseen."""


def server_command(given: Settings, *, port: int, model: str, key: str, folder: Path) -> list[str]:
    """`model` is the name to serve it by. The key is in a file of `folder`, or in the environment,
    never on the command line, which others can see.
    """
    python = str(given.config.args.get("python") or sys.executable)
    common = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", model]
    template = _template(given, folder)
    if given.kind is SGLANG:
        secret = folder / "key.yaml"
        _write_private(secret, f"api-key: {key}\n")
        command = [python, "-m", "sglang.launch_server", "--model-path", given.model, *common]
        command += ["--config", str(secret)]
        defaults = SGLANG_DEFAULTS
    else:
        command = [python, "-m", "vllm.entrypoints.cli.main", "serve", given.model, *common]
        defaults = VLLM_DEFAULTS
    if template is not None:
        command += ["--chat-template", template]
    defaults = {k: v for k, v in defaults.items() if k in given.signatures.arguments}
    return [*command, *flags({**defaults, **given.args}, given.signatures)]


def server_environment(given: Settings, *, key: str, gpus: Sequence[str]) -> dict[str, str]:
    """What is set for a server beside our own environment; `gpus` empty: as they are."""
    found = {} if given.kind is SGLANG else {"VLLM_API_KEY": key}
    return found | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})


def flags(args: Mapping[str, Any], signatures: Signatures) -> list[str]:
    """Arguments as a command line says them; null is left out."""
    found: list[str] = []
    for key, value in args.items():
        flag = signatures.flags.get(key) or f"--{key.replace('_', '-')}"
        if value is True:
            found.append(flag)
        elif value is False:
            if signatures.package == "vllm":
                found.append(f"--no-{flag.removeprefix('--')}")
        elif isinstance(value, list | tuple) and key not in signatures.parsed:
            found += [flag, *map(_text, value)]
        elif value is not None:
            found.append(f"{flag}={_text(value)}")
    return found


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [each.strip() for each in given.split(",") if each.strip() not in ("", "-1")]
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def _text(value: Any) -> str:
    return orjson.dumps(value).decode() if isinstance(value, dict | list | tuple) else str(value)


def _template(given: Settings, folder: Path) -> str | None:
    """A file that both servers read as Jinja; a name of SGLang's own stays one."""
    template = given.config.chat_template
    if template is None:
        return None
    path = given.base / Path(template).expanduser()
    if "{" not in template and path.is_file():
        if path.suffix in (".jinja", ".json"):
            return str(path)
        template = path.read_text("utf-8")
    elif "{" not in template:
        return template
    copy = folder / "template.jinja"
    copy.write_text(template, "utf-8")
    return str(copy)


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
