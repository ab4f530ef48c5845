"""Samples in containers that wrap something around a row: what is put in comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mirage.formats.messages import Messages
from mirage.formats.shape import Reading, among
from mirage.record import Image
from mirage.sinks import webdataset
from mirage.sinks.imagefolder import ImagefolderSink
from mirage.sources.images import with_images
from mirage.sources.webdataset import parsed
from mirage.sources.wrapping import of_entry, of_sample

from .samples import PICTURES, comparable, samples

FORM = Messages()
PROPERTY = settings(max_examples=500, suppress_health_check=[*HealthCheck])


def read(row: dict[str, Any]) -> Any:
    reading = Reading(among(None, given=False))
    sample = FORM.read(row, reading)
    assert not reading.broken
    return comparable(sample)


@PROPERTY
@given(data=st.data())
def test_a_sample_comes_back_from_an_archive(data: st.DataObject) -> None:
    """As members of one key, the JSON parsed as a source does it."""
    sample = data.draw(samples(FORM.holds))
    _, members = webdataset.sample(FORM.write(sample))
    values = {kind: parsed(kind, content) for kind, content in members}
    assert read(of_sample({"__key__": "000000000000", **values}, 0)) == comparable(sample)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for at, picture in enumerate(PICTURES):
        (folder / f"{at}.png").write_bytes(picture.read())
    return folder


@PROPERTY
@given(data=st.data())
def test_a_sample_comes_back_from_a_folder_of_images(data: st.DataObject, pictures: Path) -> None:
    """As a line of metadata that names files."""
    sample = data.draw(samples(FORM.holds))
    assume(sample.images)

    def named(image: Any) -> str:
        (at,) = (at for at, known in enumerate(PICTURES) if known.data == image.data)
        return f"{at}.png"

    sink = ImagefolderSink(Path("out"), FORM.columns)
    line = orjson.dumps(sink.named(FORM.write(sample)), named)
    values = with_images(pictures, orjson.loads(line))
    row = of_entry(values, 0, checked=True)
    assert isinstance(row["images"][0], Image)
    assert read(row) == comparable(sample)
