"""Images in a store: located by name alone, read later, never outside of their base."""

from __future__ import annotations

from typing import Any

import pytest
from places.stores import store

from mirage.errors import MediaError
from mirage.media import file_state, locate, picture
from mirage.places import RemotePath
from mirage.record import Abilities, Image

from .pictures import encoded, noise

__all__ = ["store"]

BASE = RemotePath.of("memory://bucket/images")


def found(value: Any) -> Image:
    image = locate(value, BASE)
    assert isinstance(image, Image)
    return image


def test_an_image_is_read_when_it_is_wanted(store: Any) -> None:
    """Nothing is asked of the store before; what a model sees are the object's bytes."""
    image = found("a/b.png")
    assert (image.given, image.path) == ("a/b.png", "memory://bucket/images/a/b.png")
    assert file_state(image) is None
    data = encoded(noise(), "PNG")
    store.pipe_file("/bucket/images/a/b.png", data)
    assert picture(image, Abilities(images=True)).data == data
    assert found("memory://bucket/images/a/b.png").read() == data
    assert found({"path": "a/../a/b.png"}).read() == data


@pytest.mark.parametrize(
    "name",
    ["../a.png", "a/../../b.png", "/etc/passwd", "..", ".", "a\0b", "memory://bucket/other/a.png"],
)
def test_no_name_leads_out_of_the_base(name: str, store: Any) -> None:
    """As in a folder here; the address of another place of the store is none below it."""
    with pytest.raises(MediaError) as caught:
        locate(name, BASE)
    assert caught.value.kind == "outside"


def test_what_is_wrong_shows_when_it_is_read(store: Any) -> None:
    """No object, an empty one, one that is too large."""
    store.pipe_file("/bucket/images/empty.png", b"")
    store.pipe_file("/bucket/images/large.png", b"12345")
    for name, kind in (("none.png", "missing"), ("empty.png", "empty")):
        with pytest.raises(MediaError) as caught:
            found(name).read()
        assert caught.value.kind == kind


def test_a_large_object_is_not_read(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirage.media.afar.MAX_BYTES", 4)
    store.pipe_file("/bucket/images/large.png", b"12345")
    with pytest.raises(MediaError) as caught:
        found("large.png").read()
    assert caught.value.kind == "bomb"


def test_other_values_are_what_they_are_elsewhere() -> None:
    """Bytes are an image, an empty path is none, and a URL needs `run.fetch`."""
    assert found(b"bytes").read() == b"bytes"
    for value, kind in (("", "empty"), ("https://host/a.png", "url")):
        with pytest.raises(MediaError) as caught:
            locate(value, BASE)
        assert caught.value.kind == kind
