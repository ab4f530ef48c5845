"""From a row to variables: missing is not null, null is a value, images are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mirage.errors import MediaError, RecordError, SelectError, SourceError
from mirage.plan.inputs import Input, bind, images_in
from mirage.record import Image, Record
from mirage.select import MISSING, compile_key


def record(**values: Any) -> Record:
    return Record("0/rows#0", b"d" * 16, values)


def variable(key: str = "a", **more: Any) -> Input:
    return Input(name="v", key=key, select=compile_key(key), **more)


@pytest.mark.parametrize(
    ("row", "more", "expected"),
    [
        ({"a": 1}, {}, 1),
        ({"a": None}, {}, None),
        ({"a": ""}, {}, ""),
        ({}, {"required": False}, None),
        ({}, {"default": 7, "required": False}, 7),
        ({"a": None}, {"default": 7, "required": False}, 7),
        ({"a": None}, {"default": None, "required": False}, None),
        ({"a": 0}, {"default": 7}, 0),
    ],
)
def test_what_a_variable_is(row: dict[str, Any], more: dict[str, Any], expected: Any) -> None:
    """Values as they are; a default for what is missing or null; null where nothing is required."""
    assert bind([variable(**more)], record(**row), None) == {"v": expected}


def test_what_is_missing_fails() -> None:
    """The error names the variable and the key."""
    with pytest.raises(SelectError, match=r"'v'.*'a\[1\]\.b'"):
        bind([variable("a[1].b")], record(a=[{}]), None)


def test_an_image_must_be_one() -> None:
    """Null is no image where one is required, and none where none is."""
    with pytest.raises(MediaError, match="null"):
        bind([variable(image=True)], record(a=None), None)
    assert bind([variable(image=True, required=False)], record(a=None), None) == {"v": None}


def test_whose_folder_counts(tmp_path: Path) -> None:
    """The input's own folder of images comes before the source's."""
    for name in ("own", "all"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"x")
    values = bind([variable(image=True, base=tmp_path / "own")], record(a="x.png"), tmp_path)
    assert values["v"].path == str(tmp_path / "own" / "x.png")
    values = bind([variable(image=True)], record(a="x.png"), tmp_path / "all")
    assert values["v"].path == str(tmp_path / "all" / "x.png")


def test_a_row_that_could_not_be_read() -> None:
    """Its fault is raised, whatever the inputs."""
    fault = SourceError("malformed", "no JSON")
    with pytest.raises(RecordError) as caught:
        bind([], Record("p", b"", {}, fault), None)
    assert caught.value is fault


def test_images_are_found_in_order() -> None:
    """Alone and in lists."""
    a, b, c = (Image(given=name, data=name.encode()) for name in "abc")
    assert images_in({"x": a, "y": "text", "z": (b, c), "n": None}) == [a, b, c]
    assert variable().default is MISSING


def test_which_input_is_at_fault() -> None:
    """What is wrong with an image is told with the name of its input."""
    with pytest.raises(MediaError, match="input 'v': a list of images has a null") as caught:
        bind([variable(image=True)], record(a=[b"bytes", None]), None)
    assert caught.value.kind == "type"
