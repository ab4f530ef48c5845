"""What README, docs and examples show is executed, with the fake engine in the place of models."""

from __future__ import annotations

import ast
import io
import json
import re
import shlex
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import BaseModel
from ruamel.yaml import YAML

import mirage
from mirage.cli.app import app
from mirage.config import backend_of, data, fetch, load_config, unserved
from mirage.config import models as keys
from mirage.config.document import read_document
from mirage.config.editor import json_schema
from mirage.formats import SHAPES

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md"]
PAGES += [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "README.md"]
EXAMPLES = sorted((ROOT / "examples").glob("*/*.yaml"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
MODELS = [
    *(data.SourceConfig, keys.EngineConfig, keys.InputConfig, keys.LLMOutput, keys.PythonOutput),
    *(keys.FilterOutput, data.SinkConfig, keys.RunConfig, fetch.FetchConfig, keys.Config),
]
WHOLE = {"inputs", "outputs", "output_schema"}
ROWS = [
    {
        "id": f"row-{number}",
        "text": f"The {number}th sentence of a text that is long enough for a question or two.",
        "image": "photo.png",
        "caption": "a photo",
        "meta": {"language": "en"},
        "conversations": [
            {"role": "user", "content": f"What is the square of {number}?"},
            {"role": "assistant", "content": f"the square of {number} is {number * number}"},
        ],
    }
    for number in range(12)
]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language, in order."""
    found = FENCE.findall(page.read_text("utf-8"))
    return [text for kind, text in found if kind == language]


def shown(page: Path) -> Iterator[Any]:
    name = page.relative_to(ROOT)
    for number, text in enumerate(blocks(page, "yaml"), 1):
        yield pytest.param(page, text, id=f"{name}-{number}")


def parse(text: str) -> dict[str, Any]:
    """YAML as MIRAGE reads it, references without quotes included."""
    return read_document(text).data


def whole(page: Path) -> dict[str, Any]:
    """The configuration that a page's shorter examples replace keys of."""
    for each in (page, ROOT / "docs" / "configuration.md"):
        for text in blocks(each, "yaml"):
            if parse(text).keys() >= WHOLE:
                return parse(text)
    raise AssertionError("no page shows a whole configuration")


def completed(page: Path, text: str) -> dict[str, Any]:
    """What a block shows, as a whole configuration."""
    given = parse(text)
    if given.keys() >= WHOLE:
        return given
    made = whole(page) | given
    if "inputs" in given:
        old = {each["name"]: each for each in whole(page)["inputs"]}
        made["inputs"] = list((old | {each["name"]: each for each in given["inputs"]}).values())
    if "outputs" in given and "output_schema" not in given:
        names = [each["name"] for each in given["outputs"] if each.get("type") != "filter"]
        made["output_schema"] = {name: f"{{{name}}}" for name in names}
    return made


def written(folder: Path, config: Mapping[str, Any]) -> Path:
    path = folder / "config.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(dict(config), file)
    return path


def rehearsed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same configuration, answered by the fake engine."""
    fake = {"backend": "fake"}
    engines = dict.fromkeys(config.get("engines", {}), fake)
    return {**config, "engine": fake, **({"engines": engines} if engines else {})}


def furnish(folder: Path, config: Mapping[str, Any]) -> None:
    """Make the files that a configuration names."""
    given = config.get("source", {"path": "rows.jsonl"})
    for source in given if isinstance(given, list) else [given]:
        path = folder / source["path"].replace("*", "rows")
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.get("format") in SHAPES:
            golden(source["format"], path)
        elif path.suffix == ".tar":
            shard(path)
        elif path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    pixels = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(pixels, "PNG")
    for name in ("photos", "images", "."):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "photo.png").write_bytes(pixels.getvalue())
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        archive.writestr("photo.png", pixels.getvalue())
    shutil.copy(ROOT / "examples" / "tickets" / "tidy.py", folder)


def golden(name: str, path: Path) -> None:
    """The golden rows of a training format, with their images."""
    home = ROOT / "tests" / "formats" / "golden"
    rows = (home / f"{name}.jsonl").read_text("utf-8").splitlines()
    whole = f"[{','.join(rows)}]" if path.suffix == ".json" else "\n".join(rows)
    path.write_text(whole, "utf-8")
    shutil.copytree(home / "images", path.parent / "images", dirs_exist_ok=True)


def shard(path: Path) -> None:
    """A WebDataset shard of one sample."""
    pixels = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(pixels, "JPEG")
    members = {"0.json": b'{"q": "What is it?"}', "0.txt": b"teal", "0.jpg": pixels.getvalue()}
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(("page", "text"), [each for page in PAGES for each in shown(page)])
def test_every_yaml_example_runs(
    page: Path, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is valid as it stands, and makes its dataset when the fake engine answers."""
    config = completed(page, text)
    as_shown = load_config(written(tmp_path, config)).config
    assert not unserved(as_shown)
    assert all(backend_of(engine) for engine in as_shown.engines.values())
    if "hf://" in text:
        return
    monkeypatch.chdir(tmp_path)
    furnish(tmp_path, config)
    sink = None if "sink" in config else "out.jsonl"
    source = None if "source" in config else "rows.jsonl"
    summary = mirage.run(written(tmp_path, rehearsed(config)), source=source, sink=sink)
    assert summary.state == "done"
    assert not summary.counts.failed
    assert summary.counts.written


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes its dataset out of its own rows when the fake engine answers."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / example.parent.name
    ignore = shutil.ignore_patterns("out", "runs", "__pycache__")
    shutil.copytree(example.parent, folder, ignore=ignore)
    assert not unserved(load_config(folder / example.name).config)
    config = parse((folder / example.name).read_text("utf-8"))
    summary = mirage.run(written(folder, rehearsed(config)))
    assert summary.state == "done"
    assert summary.counts.read
    assert not summary.counts.failed


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_names_the_schema(example: Path) -> None:
    """Its first line leads an editor to a schema, which is what `mirage schema` prints."""
    first = example.read_text("utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    stored = json.loads((example.parent / named).read_text("utf-8"))
    assert stored == json_schema(), "run: mirage schema > examples/mirage.schema.json"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    """The page about the configuration has each key in it."""
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    missing = {
        name for name in model.model_fields if f"`{name}`" not in page and f"## {name}" not in page
    }
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_exists(page: Path) -> None:
    """Each `mirage` command line names a command and flags that there are."""
    lines = [line for text in blocks(page, "sh") for line in text.splitlines()]
    for line in lines:
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if not words or words[0] != "mirage":
            continue
        flags = {word.partition("=")[0] for word in words if word.startswith("-")}
        if words[1].startswith("-"):
            continue
        known = {flag for param in app.commands[words[1]].params for flag in param.opts}
        assert flags <= known | {"--help"}, line


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Links to files of the repository find them."""
    lost = [
        link for link in LINK.findall(page.read_text("utf-8")) if not (page.parent / link).exists()
    ]
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(page: Path) -> None:
    """Where a page names a test as proof, there is one."""
    for path, name in re.findall(r"`(tests/[a-z_/]+\.py)(?:::(\w+))?`", page.read_text("utf-8")):
        module = ast.parse((ROOT / path).read_text("utf-8"))
        functions = ast.FunctionDef | ast.AsyncFunctionDef
        names = {node.name for node in module.body if isinstance(node, functions)}
        assert not name or name in names, f"{path}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_the_python_examples_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of Python run as they stand, beside the files that the page names."""
    monkeypatch.chdir(tmp_path)
    config = whole(page)
    furnish(tmp_path, config)
    written(tmp_path, rehearsed(config))
    for text in blocks(page, "python"):
        exec(compile(text, page.name, "exec"), {"__name__": page.stem})
