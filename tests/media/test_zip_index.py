"""The directory of a zip is read as `zipfile` reads it, and anything else is refused."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirage.media import zip_index
from mirage.media.zip_index import listed

NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40
)


def found(path: Path) -> list[tuple[object, ...]]:
    with path.open("rb", buffering=0) as file:
        return [tuple(member) for member in listed(file)]


def as_zipfile(path: Path) -> list[tuple[object, ...]]:
    with zipfile.ZipFile(path) as archive:
        return [
            (
                *(info.orig_filename, info.flag_bits, info.compress_type, info.CRC),
                *(info.compress_size, info.file_size, info.header_offset),
            )
            for info in archive.infolist()
        ]


@settings(max_examples=100)
@given(data=st.data())
def test_the_same_as_zipfile(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Names of all kinds, 64-bit sizes, comments, and bytes before the archive."""
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    path.write_bytes(data.draw(st.binary(max_size=100)))
    large = data.draw(st.booleans())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = data.draw(st.binary(max_size=100).filter(lambda text: b"PK" not in text))
        for name in data.draw(st.lists(NAMES, max_size=12, unique=True)):
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=large) as member:
                member.write(name.encode() * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zip_index, "CHUNK", data.draw(st.integers(1, 200)))
        assert found(path) == as_zipfile(path)


def test_many_members(tmp_path: Path) -> None:
    """More members than 16 bits count, and exactly as many."""
    for count in (65_535, 70_000):
        path = tmp_path / f"{count}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(count):
                archive.writestr(str(number), b"")
        assert [member[0] for member in found(path)] == [str(number) for number in range(count)]


def test_large_values(tmp_path: Path) -> None:
    """Sizes and offsets beyond 32 bits stand in an extra field, in order."""
    tag = struct.pack("<HHI", 99, 4, 7) + struct.pack("<HHQQQ", 1, 24, 1 << 33, 1 << 34, 1 << 35)
    full = b"\xff" * 4
    entry = b"PK\1\2" + bytes(12) + bytes(4) + full + full + struct.pack("<HHH", 1, len(tag), 0)
    entry += bytes(8) + full + b"a" + tag
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), 0, 0)
    (tmp_path / "a.zip").write_bytes(entry + end)
    ((name, _, _, _, packed, size, offset),) = found(tmp_path / "a.zip")
    assert (name, size, packed, offset) == ("a", 1 << 33, 1 << 34, 1 << 35)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\5\6",
        b"no zip at all" * 10,
        struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, 500, 0, 0),
        struct.pack("<4s4H2LH", b"PK\5\6", 1, 1, 0, 0, 0, 0, 0),
        struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 0, 0, 0),
        struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 0xFFFFFFFF, 0xFFFFFFFF, 0),
        b"?" * 46 + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 46, 0, 0),
    ],
)
def test_damaged(tmp_path: Path, data: bytes) -> None:
    """No directory, or one that is not what its end says."""
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(ValueError, match=r"archive|directory"):
        found(tmp_path / "a.zip")


@settings(max_examples=200)
@given(data=st.data())
def test_any_damage(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever bytes are changed, reading ends with entries or with a ValueError."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(3):
            archive.writestr(str(number), b"x" * 50)
    raw = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 5))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    path.write_bytes(raw)
    try:
        assert len(found(path)) <= 3 * 256
    except ValueError:
        return
