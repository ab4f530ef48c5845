"""What is recorded of SGLang and vLLM, and what is read from an installed one."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import sys
from pathlib import Path

import pytest

from mirage.engines.gpu import signatures
from mirage.engines.gpu.signatures import Installed, known, record, recorded

PACKAGES = ("sglang", "vllm")

SGLANG = {
    "srt/server_args.py": (
        "class ServerArgs:\n"
        "    old_layout: int = 0\n"
        "    def add_cli_args(parser):\n"
        "        parser.add_argument('--by-hand')\n"
    ),
    "srt/arg_groups/fields/model.py": (
        "class Model(Struct):\n"
        "    derived = Derived()\n"
        "    model_path: A[str, Arg(help='x', aliases=['--model'])]\n"
        "    _inner: A[int, 'x'] = 0\n"
        "    switch: A[bool, 'x'] = True\n"
        "    hidden: A[str, Arg(help='x', no_cli=True)] = ''\n"
        "    by_hand: A[str, Arg(help='x', no_cli=True)] = ''\n"
        "    renamed: A[Optional[int], Arg(cli_name='--other')] = None\n"
        "    mapping: A[Optional[dict], Arg(type_parser=json.loads)] = None\n"
    ),
}
VLLM = {
    "engine/arg_utils.py": (
        "class EngineArgs:\n    model: str = X.model\n    dtype: ModelDType | str = X.dtype\n"
        "class AsyncEngineArgs(EngineArgs):\n    enable_log_requests: bool = False\n"
        "class Other:\n    nothing: int = 0\n"
    ),
    "entrypoints/common/cli_args.py": "class FrontendArgs:\n    port: int = 8000\n",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_sglangs_source_is_read(tmp_path: Path) -> None:
    """Names and types from both layouts; flags that are none, other ones, and texts to parse."""
    folder = write(tmp_path, SGLANG)
    arguments = record.arguments("sglang", folder)
    assert arguments == {
        "old_layout": "int",
        "model_path": "str",
        "switch": "bool",
        "hidden": "str",
        "by_hand": "str",
        "renamed": "Optional[int]",
        "mapping": "Optional[dict]",
    }
    assert record.flags("sglang", folder) == {"hidden": "", "renamed": "--other"}
    assert record.parsed("sglang", folder) == ["mapping"]
    assert record.switched_on("sglang", folder) == ["switch"]


def test_vllms_source_is_read(tmp_path: Path) -> None:
    """Those of the engine, those of its asynchronous kind, and those of the server alone."""
    folder = write(tmp_path, VLLM)
    found = record.arguments("vllm", folder)
    assert found == {"model": "str", "dtype": "ModelDType | str", "enable_log_requests": "bool"}
    assert record.server_arguments("vllm", folder) == {"port": "int"}


def test_an_installed_version_is_read_itself(tmp_path: Path) -> None:
    """Its arguments take the place of those that are recorded, and messages name it."""
    found = known("vllm", Installed(write(tmp_path, VLLM), "9.9"))
    assert found.label == "vllm 9.9" and set(found.arguments) == {
        "model",
        "dtype",
        "enable_log_requests",
    }


@pytest.mark.parametrize("text", ["", "class Somewhere: pass", "class EngineArgs(:"])
def test_a_source_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    """Then what is recorded holds."""
    folder = write(tmp_path, {"engine/arg_utils.py": text})
    assert known("vllm", Installed(folder, "9.9")) == recorded("vllm")
    assert known("vllm", Installed(tmp_path / "nowhere", "9.9")) == recorded("vllm")


@pytest.mark.parametrize("package", PACKAGES)
def test_the_record_is_as_the_script_writes_it(package: str) -> None:
    """The same keys, in the file that ships."""
    path = Path(signatures.__file__).parent / f"{package}.json"
    found = json.loads(path.read_text())
    assert [*found] == [
        *("package", "version", "arguments", "server", "flags", "parsed", "on"),
        *("classes", "functions"),
    ]
    assert all(not name.startswith("_") for name in found["arguments"])
    assert len(found["arguments"]) > 200


def test_a_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading one takes many seconds, and touches the GPU."""
    write(tmp_path, {"sglang/__init__.py": "raise SystemExit('imported')"})
    monkeypatch.syspath_prepend(str(tmp_path))
    found = signatures.installed("sglang")
    assert found == Installed(tmp_path / "sglang", "") and "sglang" not in sys.modules
    assert signatures.installed("no_such_package") is None


@pytest.mark.parametrize("package", PACKAGES)
def test_the_installed_package_takes_what_its_source_says(package: str) -> None:
    """Where it can be imported, its real classes and functions have what is read and recorded."""
    reason = f"{package} is not installed here, and needs a GPU"
    pytest.importorskip(package, reason=reason)
    at = signatures.installed(package)
    assert at is not None
    files = {"sglang": "srt.server_args", "vllm": "engine.arg_utils"}
    arguments = importlib.import_module(f"{package}.{files[package]}")
    real = arguments.ServerArgs if package == "sglang" else arguments.AsyncEngineArgs
    read = {n for n in record.arguments(package, at.folder) if not n.startswith("_")}
    assert read == {n for n in inspect.signature(real).parameters if not n.startswith("_")}
    if importlib.metadata.version(package) != recorded(package).version:
        return
    assert read == {*recorded(package).arguments}
    files = {"sglang": "srt.entrypoints.engine", "vllm": "v1.engine.async_llm"}
    engines = importlib.import_module(f"{package}.{files[package]}")
    owner, name = ("Engine", "async_generate") if package == "sglang" else ("AsyncLLM", "generate")
    given = inspect.signature(getattr(getattr(engines, owner), name)).parameters
    stored = recorded(package).functions[f"{owner}.{name}"]
    assert [n.rstrip("=") for n in stored if n != "*"] == [n for n in given if n != "self"]
