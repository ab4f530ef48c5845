"""Images inside archives are read where they lie; whatever is wrong with one is said."""

from __future__ import annotations

import io
import struct
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.errors import MediaError
from mirage.media import archives, file_state, locate, members, picture
from mirage.record import Abilities, Image

from .pictures import encoded, noise

PNG = encoded(noise(), "PNG")
JPEG = encoded(noise(9, 7), "JPEG")
KINDS = ["images.zip", "images.tar", "images.tar.gz"]


def packed(path: Path, files: Mapping[str, bytes]) -> Path:
    """An archive of the kind that its name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def single(value: Any, base: Path | None) -> Image:
    found = locate(value, base)
    assert isinstance(found, Image)
    return found


def refusal(value: Any, base: Path | None) -> str:
    """The kind of error when an image is located, or else when it is read."""
    with pytest.raises(MediaError) as caught:
        single(value, base).read()
    assert len(caught.value.message) < 600
    return caught.value.kind


@pytest.mark.parametrize("name", KINDS)
def test_members(tmp_path: Path, name: str) -> None:
    """Below an archive, a folder in one, or without a base: a member is its bytes."""
    path = packed(tmp_path / name, {"a.png": PNG, "sub/b c.jpg": JPEG, "./sub/ü.png": PNG})
    assert single("a.png", path).read() == PNG
    assert single("sub/b c.jpg", path).read() == JPEG
    assert single("b c.jpg", path / "sub").read() == JPEG
    assert single("sub/../a.png", path).read() == PNG
    assert single("ü.png", path / "sub").read() == PNG
    assert single(f"{name}/a.png", tmp_path).read() == PNG
    assert single(str(path / "a.png"), None).read() == PNG
    assert single({"bytes": None, "path": "a.png"}, path).given == {"bytes": None, "path": "a.png"}
    assert picture(single("a.png", path), Abilities()).digest == sha256(PNG).hexdigest()
    assert picture(single("sub/b c.jpg", path), Abilities()).media_type == "image/jpeg"


@pytest.mark.parametrize("name", KINDS)
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    """Missing members, folders, and paths that lead out of the archive are refused."""
    path = packed(tmp_path / name, {"a.png": PNG, "sub/b.jpg": JPEG, "empty.png": b""})
    (tmp_path / "secret.png").write_bytes(PNG)
    assert refusal("none.png", path) == "missing"
    assert refusal("sub", path) == "missing"
    assert refusal("a.png/b", path) == "missing"
    assert refusal("../secret.png", path) == "outside"
    assert refusal("sub/../../secret.png", path) == "outside"
    assert refusal("a.png", path / "sub") == "missing"
    assert refusal("empty.png", path) == "empty"
    assert refusal("", path) == "empty"
    assert refusal(".", path) == "outside"


def test_a_folder_that_was_left_out(tmp_path: Path) -> None:
    """Where the members stand in a folder that the base does not name, the message says so."""
    path = packed(tmp_path / "images.zip", {"photos/a.png": PNG, "photos/b.png": PNG})
    with pytest.raises(MediaError, match="below photos/: add that to `image_base_path`"):
        locate("b.png", path)


@pytest.mark.parametrize("name", KINDS)
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    """A member that would be unpacked elsewhere is no member, and nothing is ever unpacked."""
    path = packed(tmp_path / name, {"../evil.png": PNG, "/evil.png": PNG, "a.png": PNG})
    assert refusal("../evil.png", path) == "outside"
    assert refusal("/evil.png", path) == "outside"
    assert refusal("evil.png", path) == "missing"
    assert single("a.png", path).read() == PNG
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["images.zip", "images.tar"])
def test_duplicates(tmp_path: Path, name: str) -> None:
    """Which of two members of one name is meant cannot be known; others are read."""
    path = tmp_path / name
    packed(path, {"a.png": PNG, "b.png": PNG})
    if name.endswith("zip"):
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("a.png", JPEG)
    else:
        with tarfile.open(path, "a") as tar:
            info = tarfile.TarInfo("./a.png")
            info.size = len(JPEG)
            tar.addfile(info, io.BytesIO(JPEG))
    assert refusal("a.png", path) == "duplicate"
    assert single("b.png", path).read() == PNG


def test_encrypted(tmp_path: Path) -> None:
    """A member with the flag of encryption is called encrypted."""
    path = packed(tmp_path / "images.zip", {"a.png": PNG, "b.png": PNG})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\1\2")
    data[entry + 8] |= 1
    path.write_bytes(data)
    assert refusal("b.png", path) == "encrypted"
    assert single("a.png", path).read() == PNG


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that claims too much, or holds more than it claims, is not unpacked."""
    monkeypatch.setattr(members, "MAX_MEMBER", 1_000_000)
    path = packed(
        tmp_path / "images.zip", {"huge.png": b"\0" * 2_000_000, "liar.png": b"\0" * 9999}
    )
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\1\2")
    data[entry + 24 : entry + 28] = struct.pack("<I", 100)
    path.write_bytes(data)
    assert refusal("huge.png", path) == "bomb"
    assert refusal("liar.png", path) == "broken"


def test_an_archive_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gzipped tar is unpacked to disk no further than images could make it grow."""
    monkeypatch.setattr(members, "ALLOWANCE", 1000)
    path = packed(tmp_path / "images.tar.gz", {"a.png": b"\0" * 3_000_000})
    assert refusal("a.png", path) == "bomb"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(tmp_path: Path, method: int) -> None:
    """A member that is not stored or deflated is refused with the number of its method."""
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.png", PNG)
    assert refusal("a.png", path) == "method"


def test_a_damaged_member(tmp_path: Path) -> None:
    """A byte that has flipped is found by the checksum; other members are read."""
    path = packed(tmp_path / "images.zip", {"a.png": PNG, "b.png": PNG})
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)
    assert refusal("a.png", path) == "broken"
    assert single("b.png", path).read() == PNG


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_zip(tmp_path: Path, share: float) -> None:
    """A zip without its end has no directory: every member fails, and the message says why."""
    path = packed(tmp_path / "images.zip", {"a.png": PNG, "b.png": PNG})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(MediaError, match="cut off") as caught:
        locate("a.png", path)
    assert caught.value.kind == "archive"


@pytest.mark.parametrize("name", ["images.tar", "images.tar.gz"])
def test_truncated_tar(tmp_path: Path, name: str) -> None:
    """Of a tar that is cut off, what stands before is read, and what is behind is missing."""
    files = {"a.png": PNG, "b.png": encoded(noise(60, 50), "PNG"), "c.png": PNG}
    path = packed(tmp_path / name, files)
    data = path.read_bytes()
    path.write_bytes(
        data[: len(data) * 6 // 10] if name.endswith("gz") else data[: len(PNG) + 2000]
    )
    assert single("a.png", path).read() == PNG
    assert refusal("b.png", path) in ("truncated", "missing")
    with pytest.raises(MediaError, match=r"damaged behind|cut off"):
        locate("c.png", path)


def test_a_damaged_header(tmp_path: Path) -> None:
    """What is behind a damaged header of a tar is missing, and the message says so."""
    path = packed(tmp_path / "images.tar", {"a.png": PNG, "b.png": PNG, "c.png": PNG})
    data = bytearray(path.read_bytes())
    second = 512 + -(-len(PNG) // 512) * 512
    data[second : second + 512] = b"x" * 512
    path.write_bytes(data)
    assert single("a.png", path).read() == PNG
    with pytest.raises(MediaError, match="damaged behind") as caught:
        locate("c.png", path)
    assert caught.value.kind == "missing"


def test_links_in_a_tar(tmp_path: Path) -> None:
    """A link or a device in a tar is no image, wherever it points."""
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        pipe = tarfile.TarInfo("b.png")
        pipe.type = tarfile.FIFOTYPE
        tar.addfile(pipe)
    assert refusal("a.png", path) == refusal("b.png", path) == "file"


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    """A path through an ordinary file is missing, as it ever was."""
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "notes.zip").write_text("not a zip")
    (tmp_path / "empty.tar").touch()
    (tmp_path / "x.tar.gz").write_bytes(zlib.compress(b"abc"))
    names = ["a.png/b.png", "notes.zip/b.png", "empty.tar/a.png", "x.tar.gz/a.png", "no/b.png"]
    assert [refusal(name, tmp_path) for name in names] == ["missing"] * 5


def test_a_link_to_an_archive(tmp_path: Path) -> None:
    """An archive is known by its bytes, so that a link of another name leads into it."""
    packed(tmp_path / "images.zip", {"a.png": PNG})
    (tmp_path / "blob").symlink_to("images.zip")
    assert single("a.png", tmp_path / "blob").read() == PNG


def test_the_archive_is_what_is_watched(tmp_path: Path) -> None:
    """A replaced archive is another one: its state shows it, and its members are read anew."""
    path = packed(tmp_path / "images.zip", {"a.png": PNG})
    before = single("a.png", path)
    state = file_state(before)
    assert state is not None and state[0] == str(path)
    packed(tmp_path / "new.zip", {"a.png": JPEG}).replace(path)
    after = single("a.png", path)
    assert file_state(after) != state
    assert (before.read(), after.read()) == (PNG, JPEG)


def test_one_index_for_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that ask at once get their members, and the archive is indexed once."""
    files = {f"{n}.png": encoded(noise(8, 8 + n), "PNG") for n in range(16)}
    path = packed(tmp_path / "images.zip", files)
    opened: list[str] = []
    indexed = members.open_archive

    def counting(path: str, kind: str) -> members.Archive:
        opened.append(path)
        return indexed(path, kind)

    monkeypatch.setattr(archives, "open_archive", counting)
    found: dict[str, bytes] = {}
    threads = [
        threading.Thread(target=lambda n=name: found.update({n: single(n, path).read()}))
        for name in files
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == files
    assert len(opened) == 1


def test_an_unreadable_archive_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A torn archive fails each record without being gone through again."""
    path = packed(tmp_path / "images.zip", {"a.png": PNG})
    path.write_bytes(path.read_bytes()[:-30])
    assert refusal("a.png", path) == "archive"
    monkeypatch.setattr(archives, "open_archive", None)
    assert refusal("a.png", path) == "archive"
    archives.prepare(str(path))


def test_the_shelf_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the latest archives are kept open, and a member outlives its place on the shelf."""
    monkeypatch.setattr(archives, "KEPT", 2)
    paths = [packed(tmp_path / f"{n}.zip", {"a.png": PNG}) for n in range(4)]
    found = [single("a.png", path) for path in paths]
    assert [image.read() for image in found] == [PNG] * 4
    assert len(archives._shelf._slots) <= 2


def test_large_archives_are_not_read(tmp_path: Path) -> None:
    """Reading a member of a large zip reads that member: the index and no more stays in memory."""
    import tracemalloc

    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2000):
            archive.writestr(f"{number}.png", PNG)
    tracemalloc.start()
    assert single("1999.png", path).read() == PNG
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 15_000_000
    assert kept < 1_000_000
    assert peak < 4_000_000


@settings(max_examples=60)
@given(data=st.data())
def test_any_damage_is_an_error_of_the_record(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever bytes an archive is changed in, a member is its bytes or a MediaError."""
    kind = data.draw(st.sampled_from(["x.zip", "x.tar"]))
    path = packed(tmp_path_factory.mktemp("damaged") / kind, {"a.png": JPEG, "b.png": JPEG})
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(1, len(raw)))])
    for name in ("a.png", "b.png"):
        try:
            found = single(name, path).read()
        except MediaError:
            continue
        assert kind == "x.tar" or found == JPEG, "a zip has checksums"
