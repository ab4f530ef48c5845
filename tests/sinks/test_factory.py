"""One function opens every sink, and knows the format from the path where it can."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mirage.sinks.hf import HfSink
from mirage.sinks.imagefolder import ImagefolderSink
from mirage.sinks.jsonl import JsonlSink
from mirage.sinks.parquet import ParquetSink
from mirage.sinks.webdataset import WebdatasetSink

from .making import sink


def test_formats_and_shapes(tmp_path: Path) -> None:
    """The suffix names the format; a path without one, or with a slash, is a folder."""
    opened = sink(tmp_path, "a/x.jsonl")
    assert isinstance(opened, JsonlSink)
    assert (opened.path, opened.folder) == (tmp_path / "a" / "x.jsonl", False)
    assert isinstance(sink(tmp_path, "x.PARQUET"), ParquetSink)
    assert isinstance(sink(tmp_path, "x", format="hf"), HfSink)
    assert isinstance(sink(tmp_path, "x/", format="imagefolder"), ImagefolderSink)
    for path, folder in {"x.tar": False, "x/": True}.items():
        archives = sink(tmp_path, path, format="webdataset")
        assert isinstance(archives, WebdatasetSink)
        assert archives.folder == folder
    shapes = {"x.parquet": False, "x": True, "x.d/": True, "x.v2": False}
    for path, folder in shapes.items():
        table = sink(tmp_path, path, format="parquet")
        assert isinstance(table, ParquetSink)
        assert table.folder == folder


def test_absolute_paths(tmp_path: Path) -> None:
    """An absolute path does not depend on the base."""
    opened = sink(Path("/nowhere"), str(tmp_path / "x.jsonl"))
    assert isinstance(opened, JsonlSink)
    assert opened.path == tmp_path / "x.jsonl"


def test_existing_folder_with_a_dot(tmp_path: Path) -> None:
    """A folder that is there is a folder, whatever its name."""
    (tmp_path / "x.v2").mkdir()
    opened = sink(tmp_path, "x.v2", format="jsonl")
    assert isinstance(opened, JsonlSink)
    assert opened.folder


@pytest.mark.parametrize("path", ["x", "x/", "x.csv", "x.jsonl/", "x.jsonl.gz"])
def test_unknown_format(tmp_path: Path, path: str) -> None:
    """A path that names no format is an error that says what to do."""
    with pytest.raises(ValueError, match="name the format"):
        sink(tmp_path, path)


@pytest.mark.parametrize(("path", "kind"), [("x.jsonl", "parquet"), ("x.parquet", "hf")])
def test_contradiction(tmp_path: Path, path: str, kind: str) -> None:
    """A format that contradicts the suffix is an error."""
    with pytest.raises(ValueError, match="does not go with"):
        sink(tmp_path, path, format=kind)


def test_lines_need_no_arrow() -> None:
    """Neither the folder nor JSON lines load pyarrow or Pillow."""
    code = (
        "import sys; from pathlib import Path\n"
        "from mirage.config.models import SinkConfig\n"
        "from mirage.sinks import open_sink\n"
        "open_sink(SinkConfig(path='x.jsonl'), base=Path('/tmp'), declared={})\n"
        "assert not {'pyarrow', 'PIL', 'datasets'} & sys.modules.keys()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
