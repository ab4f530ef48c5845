"""Every kind of value that is an image is found; whatever leads elsewhere is refused."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from mirage.errors import MediaError
from mirage.media import file_state, locate, sniff
from mirage.record import Image

from .pictures import encoded, noise, opened

PNG = encoded(noise(), "PNG")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with `a.png` and `sub/b.jpg`, beside which lies `secret.png`."""
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    (root / "a.png").write_bytes(PNG)
    (root / "sub" / "b.jpg").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    return root


def single(value: Any, base: Path | None = None) -> Image:
    found = locate(value, base)
    assert isinstance(found, Image)
    return found


def refusal(value: Any, base: Path | None = None) -> str:
    with pytest.raises(MediaError) as caught:
        locate(value, base)
    assert len(caught.value.message) < 400
    return caught.value.kind


def test_null() -> None:
    """No image stays no image."""
    assert locate(None, None) is None


@pytest.mark.parametrize("value", [PNG, bytearray(PNG), memoryview(PNG)])
def test_bytes(value: Any) -> None:
    """Bytes are the image, unchanged."""
    assert single(value).read() == PNG


def test_path_below_base(base: Path) -> None:
    """A relative path is looked up below the base, and stands as it was given."""
    image = single("sub/../a.png", base)
    state = (base / "a.png").stat()
    assert image == Image(
        given="sub/../a.png",
        path=str(base.resolve() / "a.png"),
        state=(state.st_size, state.st_mtime_ns),
    )
    assert image.read() == PNG


def test_absolute_paths(base: Path) -> None:
    """An absolute path needs no base, and with one must lie below it."""
    assert single(str(base / "a.png")).read() == PNG
    assert single(str(base / "a.png"), base).read() == PNG
    assert single(base / "a.png").read() == PNG
    assert refusal(str(base.parent / "secret.png"), base) == "outside"


@pytest.mark.parametrize(
    "path", ["../secret.png", "sub/../../secret.png", "/etc/passwd", "..", "."]
)
def test_paths_that_leave_the_base(base: Path, path: str) -> None:
    """No path leads out of the base, whether or not anything is there."""
    assert refusal(path, base) == "outside"


def test_links_that_leave_the_base(base: Path) -> None:
    """A symbolic link is followed within the base, and refused when it leads out."""
    (base / "in.png").symlink_to("sub/b.jpg")
    (base / "out.png").symlink_to("../secret.png")
    (base / "up").symlink_to("..")
    assert single("in.png", base).read() == PNG
    assert refusal("out.png", base) == "outside"
    assert refusal("up/secret.png", base) == "outside"


def test_neighbour_with_the_same_beginning(base: Path) -> None:
    """A folder whose name merely begins like the base's is outside."""
    neighbour = base.parent / "images-private"
    neighbour.mkdir()
    (neighbour / "a.png").write_bytes(PNG)
    assert refusal("../images-private/a.png", base) == "outside"


def test_relative_path_without_base() -> None:
    """A relative path without a base is an error that names the key to set."""
    with pytest.raises(MediaError, match="image_base_path") as caught:
        locate("a.png", None)
    assert caught.value.kind == "relative"


@pytest.mark.parametrize(
    "name", ["none.png", "a.png/none", "n\0l", "x" * 5000, "iVBORw0KGgo" * 1000, "loop", "\ud800"]
)
def test_missing(base: Path, name: str) -> None:
    """A path to nothing is missing, however odd it is."""
    (base / "loop").symlink_to("loop")
    assert refusal(name, base) == "missing"


def test_not_a_file(base: Path) -> None:
    """Folders, pipes and devices are refused, and never opened: opening a pipe would hang."""
    os.mkfifo(base / "pipe")
    assert refusal("sub", base) == "file"
    assert refusal("pipe", base) == "file"
    assert refusal("/dev/zero") == "file"


def test_empty(base: Path) -> None:
    """An image of no bytes is refused in every shape."""
    (base / "empty.png").touch()
    values: list[Any] = ["empty.png", "", b"", {"bytes": b"", "path": "a.png"}]
    values += [{"bytes": None, "path": None}, "data:image/png;base64,"]
    assert [refusal(value, base) for value in values] == ["empty"] * 6


@pytest.mark.parametrize("url", ["http://x.org/a.png", "https://x.org/a.png", "HTTP://X.org/a"])
def test_urls(base: Path, url: str) -> None:
    """URLs are refused with a word of their own: this version reads none."""
    assert refusal(url, base) == "url"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "FILE:a.png", "s3://b/a.png", "ftp://x/a", "zip://a::b.zip"]
)
def test_other_schemes(base: Path, url: str) -> None:
    """Every other scheme is refused, within a base or not, alone or in a struct."""
    assert refusal(url, base) == refusal({"bytes": None, "path": url}) == "refused"


def test_names_with_a_colon(base: Path) -> None:
    """A colon alone does not make a file name a URL."""
    (base / "fig:3.png").write_bytes(PNG)
    assert single("fig:3.png", base).read() == PNG


def test_structs(base: Path) -> None:
    """In a struct of `datasets` the bytes win, and a path alone is a path."""
    both = {"bytes": PNG, "path": "../nowhere.png"}
    assert single(both, base) == Image(given=both, data=PNG)
    alone = {"bytes": None, "path": "a.png"}
    assert single(alone, base).path == str(base.resolve() / "a.png")
    assert refusal({"path": "../secret.png"}, base) == "outside"


@pytest.mark.parametrize("value", [3, 1.5, True, {}, {"url": "x"}, {"bytes": "text"}, {1}, [[PNG]]])
def test_other_values(value: Any) -> None:
    """What is no image at all is refused by its type."""
    assert refusal(value) == "type"


def test_data_urls() -> None:
    """A data URL is decoded, and stands as it was given."""
    body = base64.b64encode(PNG).decode()
    url = f"data:image/png;base64,{body}"
    assert single(url) == Image(given=url, data=PNG)
    variants = [f"DATA:;BASE64,{body}", f"data:image/png;x=y;base64,{body.rstrip('=')}"]
    variants += [f"data:image/png;base64,{body[:99]}\n {body[99:]}"]
    variants += ["data:image/png;base64," + body.replace("+", "%2B").replace("=", "%3D")]
    assert all(single(variant).read() == PNG for variant in variants)


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:image/png,abc",
        "data:image/png;base64,a$b=",
        "data:;base64,abcde",
        "data:é;base64,é",
    ],
)
def test_broken_data_urls(url: str) -> None:
    """A data URL that is not base64 is broken."""
    assert refusal(url) == "broken"


def test_lists(base: Path) -> None:
    """A list keeps its order; a null or a refusal in it is the error of the whole."""
    found = locate(["a.png", PNG, {"path": "sub/b.jpg"}], base)
    assert isinstance(found, tuple)
    assert [image.given for image in found] == ["a.png", PNG, {"path": "sub/b.jpg"}]
    assert locate([], base) == ()
    assert refusal(["a.png", None], base) == "type"
    assert refusal(["a.png", "none.png"], base) == "missing"


def test_located_already() -> None:
    """An image that was located before is taken as it is."""
    image = Image(given="x", data=PNG)
    assert single(image) is image


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I", "F", "CMYK"])
def test_pil_images(mode: str) -> None:
    """A PIL image of any mode becomes a file that is equal to it in pixels."""
    image = noise().convert(mode)
    data = single(image).read()
    assert sniff(data) == ("image/tiff" if mode in ("I", "F", "CMYK") else "image/png")
    assert (opened(data).mode, opened(data).tobytes()) == (mode, image.tobytes())


def test_pil_image_of_16_bits() -> None:
    """16 bits stay 16 bits."""
    image = Pillow.frombytes("I;16", (8, 4), bytes(range(64)))
    assert opened(single(image).read()).tobytes() == image.tobytes()


def test_pil_image_loses_metadata_and_keeps_transparency() -> None:
    """EXIF and comments stay out of the stored file; a transparent palette entry is pixels."""
    exif = Pillow.Exif()
    exif[0x010E] = "taken at home"
    source = opened(encoded(noise(), "JPEG", exif=exif, comment=b"at home"))
    assert b"at home" not in single(source).read()
    palette = opened(encoded(noise().convert("P"), "PNG", transparency=3))
    assert opened(single(palette).read()).info == {"transparency": 3}


def test_pil_image_without_a_lossless_file() -> None:
    """A mode that no format holds as it is would be altered, hence is refused."""
    assert refusal(noise().convert("HSV")) == "type"


def test_file_state(base: Path) -> None:
    """A file is known by path, size and time as it was located; an image in memory has no such
    state.
    """
    image = single("a.png", base)
    known = (image.path, len(PNG), (base / "a.png").stat().st_mtime_ns)
    assert file_state(image) == known
    assert file_state(single(PNG)) is None
    (base / "a.png").unlink()
    assert file_state(image) == known
    with pytest.raises(MediaError, match="no such file"):
        file_state(Image(given="a.png", path=image.path))
