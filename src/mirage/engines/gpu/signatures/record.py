"""Write down what SGLang and vLLM take: the names and types of their arguments, from their source.

    python -m mirage.engines.gpu.signatures.record sglang 0.5.23 [FOLDER] > sglang.json

FOLDER is that of the package, as installed or as unpacked from a wheel. The source is read, never
imported: that needs neither a GPU nor torch, and takes a fraction of a second. What is read from
the installed package at check time is read by the same functions.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

ARGUMENTS = {
    "sglang": (("srt/server_args.py", "ServerArgs"), ("srt/arg_groups/fields/*.py", "*")),
    "vllm": (
        ("engine/arg_utils.py", "EngineArgs"),
        ("engine/arg_utils.py", "AsyncEngineArgs"),
    ),
}
SERVER = {
    "sglang": (),
    "vllm": (("entrypoints/*/cli_args.py", "*Args"),),  # its folder has changed now and then
}
CLASSES = {
    "sglang": (("srt/sampling/sampling_params.py", "SamplingParams"),),
    "vllm": (
        ("sampling_params.py", "SamplingParams"),
        ("sampling_params.py", "StructuredOutputsParams"),
        ("outputs.py", "CompletionOutput"),
    ),
}
FUNCTIONS = {
    "sglang": (
        ("srt/entrypoints/engine.py", "Engine.async_generate"),
        ("srt/entrypoints/engine.py", "Engine.shutdown"),
        ("srt/managers/tokenizer_manager.py", "TokenizerManager.abort_request"),
        ("srt/parser/conversation.py", "generate_chat_conv"),
    ),
    "vllm": (
        ("v1/engine/async_llm.py", "AsyncLLM.from_engine_args"),
        ("v1/engine/async_llm.py", "AsyncLLM.generate"),
        ("v1/engine/async_llm.py", "AsyncLLM.get_tokenizer"),
        ("v1/engine/async_llm.py", "AsyncLLM.shutdown"),
        ("outputs.py", "RequestOutput.__init__"),
    ),
}


def folder_of(package: str) -> Path | None:
    """Where a package is installed, found without importing it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or []) if spec else []
    return Path(places[0]) if places else None


def arguments(package: str, folder: Path) -> dict[str, str]:
    """What the engine's constructor takes: names, and types as written."""
    return _fields(folder, ARGUMENTS[package])


def server_arguments(package: str, folder: Path) -> dict[str, str]:
    """What only the server takes."""
    return _fields(folder, SERVER[package])


def flags(package: str, folder: Path) -> dict[str, str]:
    """Arguments whose flag is not simply their name; empty where there is none."""
    found: dict[str, str] = {}
    for field in _annotated(folder, ARGUMENTS[package]):
        for call in _metadata(field):
            for keyword in call.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg == "no_cli" and value is True:
                    found[_name(field)] = ""
                elif keyword.arg == "cli_name" and isinstance(value, str):
                    found[_name(field)] = value
    added = _added(folder / ARGUMENTS[package][0][0])
    return {
        name: flag
        for name, flag in found.items()
        if not name.startswith("_") and (flag or f"--{name.replace('_', '-')}" not in added)
    }


def _added(path: Path) -> set[str]:
    """The flags that a file adds to a parser by hand."""
    return {
        str(node.args[0].value)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"
    }


def switched_on(package: str, folder: Path) -> list[str]:
    """Switches that are on without being asked for."""
    return [
        _name(field)
        for field in _annotated(folder, ARGUMENTS[package])
        if _type(field.annotation) == "bool"
        if isinstance(field.value, ast.Constant) and field.value.value is True
    ]


def parsed(package: str, folder: Path) -> list[str]:
    """Arguments of which the command line takes the whole value as one text."""
    return [
        _name(field)
        for field in _annotated(folder, ARGUMENTS[package])
        if any(key.arg == "type_parser" for call in _metadata(field) for key in call.keywords)
    ]


def record(package: str, version: str, folder: Path) -> dict[str, Any]:
    """All that the adapters rely on, as it is stored."""
    return {
        "package": package,
        "version": version,
        "arguments": arguments(package, folder),
        "server": server_arguments(package, folder),
        "flags": flags(package, folder),
        "parsed": parsed(package, folder),
        "on": switched_on(package, folder),
        "classes": {name: _fields(folder, ((file, name),)) for file, name in CLASSES[package]},
        "functions": {
            name: _parameters(_function(folder / file, name)) for file, name in FUNCTIONS[package]
        },
    }


def _fields(folder: Path, places: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {
        _name(field): _type(field.annotation)
        for field in _annotated(folder, places)
        if not _name(field).startswith("_")
    }


def _annotated(folder: Path, places: Iterable[tuple[str, str]]) -> Iterator[ast.AnnAssign]:
    """The annotated names in the bodies of classes, file by file."""
    for pattern, wanted in places:
        for path in sorted(folder.glob(pattern)):
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef) and _matches(node.name, wanted):
                    for line in node.body:
                        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                            yield line


def _matches(name: str, wanted: str) -> bool:
    return name.endswith(wanted[1:]) if wanted.startswith("*") else name == wanted


def _name(field: ast.AnnAssign) -> str:
    return field.target.id if isinstance(field.target, ast.Name) else ""


def _inner(annotation: ast.expr) -> tuple[ast.expr, list[ast.expr]]:
    """The type in `Annotated[type, ...]`, which SGLang calls `A`, and what goes along with it."""
    if not isinstance(annotation, ast.Subscript) or not isinstance(annotation.slice, ast.Tuple):
        return annotation, []
    if ast.unparse(annotation.value) not in ("A", "Annotated"):
        return annotation, []
    kind, *rest = annotation.slice.elts
    return kind, rest


def _type(annotation: ast.expr) -> str:
    return ast.unparse(_inner(annotation)[0])


def _metadata(field: ast.AnnAssign) -> list[ast.Call]:
    return [each for each in _inner(field.annotation)[1] if isinstance(each, ast.Call)]


def _function(path: Path, name: str) -> Function:
    body: list[ast.stmt] = ast.parse(path.read_text("utf-8")).body
    *classes, last = name.split(".")
    for wanted in classes:
        body = next(n.body for n in body if isinstance(n, ast.ClassDef) and n.name == wanted)
    return next(n for n in body if isinstance(n, Function) and n.name == last)


def _parameters(function: Function) -> list[str]:
    """`name`, or `name=` where it may be left out; `*` before those that are given by name."""
    given = function.args
    positional = [each.arg for each in (*given.posonlyargs, *given.args)]
    optional = len(positional) - len(given.defaults)
    found = [name + "=" * (place >= optional) for place, name in enumerate(positional)]
    if given.kwonlyargs:
        found.append("*")
        for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
            found.append(each.arg + "=" * (default is not None))
    if given.kwarg is not None:
        found.append(f"**{given.kwarg.arg}")
    return [name for name in found if name not in ("self", "cls")]


def main() -> None:
    package, version, *given = sys.argv[1:]
    folder = Path(given[0]) if given else folder_of(package)
    if folder is None:
        raise SystemExit(f"{package} is not installed: name the folder of its source")
    print(json.dumps(record(package, version, folder), indent=1))


if __name__ == "__main__":
    main()
