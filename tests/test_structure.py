"""The shape of the house: who imports whom, how long things are, and what is loaded when."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "mirage"
LAYERS = """
    errors names atomic certificates recipes
    places
    record
    template select media config
    journal report formats store
    sources engines sinks
    dataset steps
    mixture
    plan
    work
    pipeline
    scale
    job status given
    note manifest
    session
    glimpse merge
    api
    cli
    __main__
"""
LEVEL = {name: n for n, names in enumerate(LAYERS.split("\n")) for name in names.split()}
MODULES = {
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}
LONGEST_FILE, LONGEST_FUNCTION = 350, 60
HEAVY = "pyarrow PIL torch pydantic jinja2 jmespath rich asyncio mirage.engines mirage.sources"


def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def imports(module: str) -> Iterator[str]:
    """The modules of ours that a module imports, at its top or within a function."""
    for node in ast.walk(tree(module)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in inner]
        yield from (name for name in names if name in MODULES and name != module)


def layer(module: str) -> str:
    """The folder, or the single module, that a module belongs to; empty for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def test_imports_go_one_way() -> None:
    """Every module imports only from lines above its own, or from within its own folder."""
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        for name in imports(module)
        if (mine := layer(module)) and (theirs := layer(name)) and mine != theirs
        if LEVEL[theirs] >= LEVEL[mine]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_layers_are_those_that_are_documented() -> None:
    """ARCHITECTURE.md shows the same list."""
    page = (SOURCE.parents[1] / "ARCHITECTURE.md").read_text("utf-8")
    block = page.partition("```text\n")[2].partition("```")[0]
    assert [line.split() for line in block.splitlines()] == [
        line.split() for line in LAYERS.strip().splitlines()
    ]


def test_no_module_needs_itself() -> None:
    """Within folders, too, imports make no circle."""
    graph = {module: {n for n in imports(module) if layer(n)} for module in MODULES}
    packages = {name: path for name, path in MODULES.items() if path.name == "__init__.py"}
    TopologicalSorter({m: needed - {*packages} for m, needed in graph.items()}).prepare()


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_long(module: str) -> None:
    """A file that wants to be longer is two things; so is a function."""
    lines = len(MODULES[module].read_text("utf-8").splitlines())
    long = [f"{MODULES[module]}: {lines} lines"] if lines > LONGEST_FILE else []
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                long.append(f"{MODULES[module]}:{node.lineno}: {node.name} has {length} lines")
    assert not long, "\n".join(long)


def test_values_are_structs() -> None:
    """The class of a dataclass takes twenty times as long to make, and every start makes all."""
    nodes = ((module, node) for module in MODULES for node in ast.walk(tree(module)))
    assert not [m for m, n in nodes if isinstance(n, ast.ImportFrom) and n.module == "dataclasses"]


@pytest.mark.parametrize(
    "code",
    ["import mirage", "from mirage.cli import main; main(['--help'])"],
    ids=["package", "help"],
)
def test_little_is_loaded(code: str) -> None:
    """Whoever imports the package, or asks for help, waits for nothing that is not used."""
    look = f"import sys, atexit; atexit.register(lambda: print('loaded:', *sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    loaded = done.stdout.partition("loaded:")[2].split()
    assert "mirage" in loaded
    assert not {*loaded} & {*HEAVY.split()}
