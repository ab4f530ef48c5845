"""An image in the output is what it was in the source: a string stays one, bytes stay the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from mirage.errors import SinkError
from mirage.record import Image
from mirage.sinks.images import Gallery, embedded, reference

from .making import JPEG, PNG, files, image


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Image(given="a/b.jpg", path="/base/a/b.jpg"), "a/b.jpg"),
        (Image(given=Path("/a/b.jpg"), path="/a/b.jpg"), "/a/b.jpg"),
        (Image(given="data:image/png;base64,AAAA", data=b"\0\0\0"), "data:image/png;base64,AAAA"),
        (Image(given={"bytes": None, "path": "b.jpg"}, path="/base/b.jpg"), "b.jpg"),
        (Image(given={"bytes": PNG, "path": "b.jpg"}, data=PNG), None),
        (Image(given=PNG, data=PNG), None),
        (Image(given=object(), data=PNG), None),
    ],
)
def test_reference(found: Image, text: str | None) -> None:
    """The source's own string stands for an image; bytes have none, whatever path came along."""
    assert reference(found) == text


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (PNG, None),
        ("a.png", "a.png"),
        ({"bytes": PNG, "path": "a.png"}, "a.png"),
        ({"bytes": PNG, "path": None}, None),
        ("data:image/png;base64,AAAA", None),
        (object(), None),
    ],
)
def test_embedded(given: Any, path: str | None) -> None:
    """An embedded image has its bytes, and a path only where it came with one."""
    assert embedded(image(given=given)) == {"bytes": PNG, "path": path}


def test_gallery(tmp_path: Path) -> None:
    """Bytes go to files that are named by content and kind, once each."""
    part = tmp_path / "part.jsonl"
    odd = b"neither PNG nor JPEG"
    with Gallery(part) as gallery:
        paths = [gallery.claim(image(data)) for data in (PNG, JPEG, PNG, odd)]
        gallery.keep()
        assert not (tmp_path / paths[0]).exists(), "nothing is in place before the part is"
    assert [path.rpartition(".")[2] for path in paths] == ["png", "jpg", "png", "bin"]
    assert files(tmp_path) == dict(zip(paths, (PNG, JPEG, PNG, odd), strict=True))
    assert all(hashlib.sha256((tmp_path / p).read_bytes()).hexdigest() in p for p in paths)


def test_gallery_writes_nothing_twice(tmp_path: Path) -> None:
    """A file that is there is left alone, unless it is torn."""
    part = tmp_path / "part.jsonl"

    def fill() -> Path:
        with Gallery(part) as gallery:
            path = tmp_path / gallery.claim(image())
            gallery.keep()
        return path

    path = fill()
    before = path.stat()
    assert fill().stat() == before
    path.write_bytes(PNG[:10])
    assert fill().read_bytes() == PNG


def test_gallery_after_an_error(tmp_path: Path) -> None:
    """Dropped images and those of a failed part leave no file."""
    with Gallery(tmp_path / "part") as gallery:
        gallery.claim(image())
        gallery.drop()
        gallery.keep()
    with pytest.raises(KeyError), Gallery(tmp_path / "part") as gallery:
        gallery.claim(image())
        gallery.keep()
        raise KeyError
    assert files(tmp_path) == {}


def test_file_that_went_away(tmp_path: Path) -> None:
    """An image whose file is gone is the row's error."""
    with pytest.raises(SinkError, match="cannot be read") as caught:
        embedded(Image(given="a.png", path=str(tmp_path / "a.png")))
    assert caught.value.kind == "image"
