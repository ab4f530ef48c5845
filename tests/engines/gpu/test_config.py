"""What SGLang and vLLM are told is checked before they are loaded, installed or not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from mirage.config.models import EngineConfig
from mirage.engines import identity, open_engine
from mirage.engines.gpu import command_line
from mirage.engines.gpu.config import KINDS, SGLANG, VLLM, Settings
from mirage.engines.gpu.signatures import record, recorded
from mirage.errors import ConfigError

from .standin import install


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both packages seem to be installed, with nothing in them."""
    install(tmp_path / "packages")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    return tmp_path


def mistakes(backend: str, base: Path, **keys: Any) -> dict[str, str]:
    """Path and message of all that is wrong."""
    config = EngineConfig(**{"model_path": "org/model", **keys})
    try:
        open_engine(config, backend=backend, name="engine", base=base)
    except ConfigError as errors:
        return {each.path.removeprefix("engine."): each.message for each in errors.mistakes}
    return {}


@pytest.mark.parametrize(
    ("backend", "args", "says"),
    [
        ("sglang", {"tp_sise": 2}, "did you mean 'tp_size'?"),
        ("sglang", {"tensor_parallel_size": 2}, "did you mean 'tp_size'?"),
        ("sglang", {"max_model_len": 2}, "did you mean 'context_length'?"),
        ("vllm", {"tp_size": 2}, "did you mean 'tensor_parallel_size'?"),
        ("vllm", {"gpu_memory_utilisation": 0.5}, "did you mean 'gpu_memory_utilization'?"),
        ("sglang", {"zzz": 1}, "not an argument of sglang 0.5.23"),
        ("sglang", {"tp_size": "two"}, "must be a value of type int, not 'two'"),
        ("sglang", {"tp_size": True}, "must be a value of type int"),
        ("vllm", {"enforce_eager": "yes"}, "must be a value of type bool"),
        ("vllm", {"max_logprobs": 1.5}, "must be a value of type int"),
        ("sglang", {"api_key": "k"}, "not to be given"),
        ("vllm", {"model": "m"}, "give it as `model_path`"),
        ("sglang", {"chat_template": "x"}, "give `chat_template` beside"),
        ("sglang", {"replicas": 2}, "add `launch: true`"),
        ("vllm", {"root_path": "/x"}, "not an argument of vllm"),
    ],
)
def test_arguments_are_checked(
    packages: Path, backend: str, args: dict[str, Any], says: str
) -> None:
    """An unknown name, another engine's name, or a wrong type is a mistake with its place."""
    (key,) = args
    found = mistakes(backend, packages, args=args)
    assert says in found.pop(f"args.{key}") and not found


@pytest.mark.parametrize(
    ("backend", "args", "says"),
    [
        ("sglang", {"replicas": 0}, "must be more than 0"),
        ("sglang", {"replicas": "two"}, "must be a number"),
        ("vllm", {"start_timeout": True}, "must be a number"),
        ("vllm", {"port": 80}, "a free one is found"),
        ("sglang", {"uses_mamba_radix_cache": True}, "has no flag for it"),
        ("sglang", {"dllm_fdfo": False}, "cannot turn it off"),
        ("vllm", {"python": "/no/such/python"}, "has no vllm, or does not run"),
    ],
)
def test_arguments_of_servers_are_checked(
    packages: Path, backend: str, args: dict[str, Any], says: str
) -> None:
    """So are our own, and those that an engine takes but its command line does not."""
    (key,) = args
    found = mistakes(backend, packages, launch=True, args=args)
    assert says in found.pop(f"args.{key}") and not found


@pytest.mark.parametrize("backend", [*KINDS])
def test_what_fits_is_no_mistake(packages: Path, backend: str) -> None:
    """Plain types, null for a default, and what cannot be judged here pass."""
    args: dict[str, Any] = {"dtype": "auto", "trust_remote_code": True, "revision": None}
    more: dict[str, Any] = {"limit_mm_per_prompt": {}}
    args |= {"max_running_requests": 8} if backend == "sglang" else more
    assert not mistakes(backend, packages, args=args)
    assert not mistakes(backend, packages, launch=True, args={**args, "replicas": 1})


def test_server_arguments_are_for_servers(packages: Path) -> None:
    """What only `vllm serve` takes is known there."""
    assert not mistakes("vllm", packages, launch=True, args={"enable_auto_tool_choice": True})


@pytest.mark.parametrize(
    ("keys", "path", "says"),
    [
        ({"model_path": None}, "model_path", "missing"),
        ({"model_path": "file.gguf"}, "model_path", "is a file"),
        ({"base_url": "http://h"}, "base_url", "backend: openai"),
        ({"sampling": {"top_kk": 1}}, "sampling.top_kk", "did you mean 'top_k'?"),
        ({"extra_body": {"guided_json": 1}}, "extra_body.guided_json", "not a sampling parameter"),
    ],
)
def test_the_rest_is_checked(packages: Path, keys: dict[str, Any], path: str, says: str) -> None:
    """Model, endpoint, sampling and body."""
    (packages / "file.gguf").write_bytes(b"GGUF")
    for backend in KINDS:
        found = mistakes(backend, packages, **keys)
        assert says in found.pop(path) and not found


def test_servers_take_any_sampling(packages: Path) -> None:
    """A server judges the body of a call by itself."""
    keys: dict[str, Any] = {"sampling": {"anything": 1}, "extra_body": {"more": 2}}
    assert not mistakes("vllm", packages, launch=True, **keys)


@pytest.mark.parametrize("backend", [*KINDS])
def test_a_missing_package_says_what_to_install(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the arguments are checked all the same, by what is recorded."""
    monkeypatch.setattr(record, "folder_of", lambda package: None)
    found = mistakes(backend, tmp_path, args={"zzz": 1})
    assert f'pip install "mirage-engine[{backend}]"' in found["backend"]
    assert recorded(backend).label in found["args.zzz"]


def test_a_template_that_is_neither(packages: Path) -> None:
    """A name means nothing to vLLM; SGLang has templates of its own."""
    assert "nor a file" in mistakes("vllm", packages, chat_template="qwen2-vl")["chat_template"]
    assert not mistakes("sglang", packages, chat_template="qwen2-vl")


@pytest.mark.parametrize("backend", [*KINDS])
def test_identity_is_what_decides_answers(backend: str, tmp_path: Path) -> None:
    """Model, revision, quantisation, template, options; not memory, nor GPUs, nor servers."""

    def of(**keys: Any) -> str:
        return identity(EngineConfig(**{"model_path": "org/m", **keys}), backend, tmp_path)

    size = KINDS[backend].sizes[0]
    plain = of()
    assert plain == f"{backend}:org/m"
    assert of(args={size: 4, "download_dir": "/x", "trust_remote_code": True}) == plain
    assert of(launch=True, args={"replicas": 2, "start_timeout": 5}) == plain
    changed = [
        of(model_path="org/n"),
        of(args={"revision": "a"}),
        of(args={"revision": "b"}),
        of(args={"quantization": "fp8"}),
        of(args={"dtype": "float16"}),
        of(chat_template="{{ x }}"),
        of(extra_body={"chat_template_kwargs": {"enable_thinking": True}}),
    ]
    assert len({plain, *changed}) == 8


def test_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    """The same files under another name are the same model; other weights are another one."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    of = [identity(EngineConfig(model_path=n), "sglang", tmp_path) for n in ("one", "two")]
    assert of[0] == of[1] and "one" not in of[0]
    (tmp_path / "two/model.safetensors").write_bytes(b"other weights")
    assert identity(EngineConfig(model_path="two"), "sglang", tmp_path) != of[0]


def test_neutral_arguments_are_known_ones() -> None:
    """A list that names what no version has would hide a misspelling."""
    for kind in KINDS.values():
        taken = {**recorded(kind.package).arguments, **recorded(kind.package).server}
        assert {*kind.neutral, *kind.sizes, *kind.synonyms.values(), kind.model} <= {*taken}


@pytest.mark.parametrize("kind", [SGLANG, VLLM])
def test_the_command_line_of_another_python(kind: Any, tmp_path: Path) -> None:
    """Servers may live in an environment of their own."""
    config = EngineConfig(model_path="m", launch=True, args={"python": "/opt/gpu/bin/python"})
    given = Settings(kind, config, "engine", tmp_path)
    line = command_line.server_command(given, port=7, model="name", key="secret", folder=tmp_path)
    assert line[:2] == ["/opt/gpu/bin/python", "-m"] and "secret" not in " ".join(line)
    assert line[line.index("--port") + 1] == "7" and "--python" not in line


def test_another_python_is_asked_what_it_has(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the package lies in another environment, its own source is read."""
    monkeypatch.setenv("PYTHONPATH", str(packages / "packages"))
    assert not mistakes("vllm", packages, launch=True, args={"python": sys.executable})


@pytest.mark.parametrize(
    ("visible", "found"), [("", []), ("-1", []), ("3", ["3"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"])]
)
def test_gpus_that_can_be_seen(
    monkeypatch: pytest.MonkeyPatch, visible: str, found: list[str]
) -> None:
    """As CUDA is told."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert command_line.visible_gpus() == found
