"""The index of an archive, and its members' bytes by random access: `archives` keeps these.

An index holds about 200 bytes for each member. Two members of one name are no member at all: which
of them is meant cannot be known.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import posixpath
import re
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from msgspec import Struct

from mirage.errors import MediaError, boundary
from mirage.media.zip_index import listed

MAX_MEMBER = 1 << 29
BLOCK = tarfile.BLOCKSIZE
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
ZIP = (b"PK\3\4", b"PK\5\6")
ENCRYPTED = 1 << 16
LINK = 1 << 17
LOCAL = struct.Struct("<4s22xHH")
ENTRY = struct.Struct("<QQQII")
CHUNK = 1 << 20
RATIO, ALLOWANCE = 50, 1 << 30
DUPLICATE = b""
ODD = re.compile(r"^[/.]|//|/\.|/$|\\")

Found = tuple[str, bytes]


class Archive(Struct):
    """An open archive. `entries` are, by name: offset, packed size, size, method, checksum.

    `torn` says that the archive is cut off or damaged: members that are not in the index may have
    been behind that. Tar members are stored, without a checksum.
    """

    path: str
    file: BinaryIO
    zip: bool
    entries: dict[str, bytes] = {}
    torn: str = ""

    def check(self, name: str) -> tuple[int, int, int, int, int]:
        """The entry of a member. Raises MediaError where there is not exactly one."""
        entry = self.entries.get(name)
        if entry is None:
            folder = next(iter(self.entries), "").rpartition("/")[0]
            why = f"; {self.torn}" if self.torn else ""
            if f"{folder}/{name}" in self.entries:
                why = f"; there is one below {folder}/: add that to `image_base_path`"
            raise MediaError("missing", f"no such member of {self.path}: {name!r:.120}{why}")
        if entry == DUPLICATE:
            raise MediaError("duplicate", f"{self.path} has several members {name!r:.120}")
        found = ENTRY.unpack(entry)
        if found[3] == LINK:
            raise MediaError("file", f"{name!r:.120} of {self.path} is not a regular file")
        return found

    def read(self, name: str) -> bytes:
        """A member's bytes. Raises MediaError: "empty", "bomb" (over MAX_MEMBER), "encrypted",
        "method" (not stored or deflated), "truncated", "broken" (wrong checksum or size).
        """
        offset, packed, size, method, checksum = self.check(name)
        label = f"{name!r:.120} of {self.path}"
        if not size:
            raise MediaError("empty", f"{label} is empty")
        if max(size, packed) > MAX_MEMBER:
            raise MediaError("bomb", f"{label} has {size:,} bytes; the limit is {MAX_MEMBER:,}")
        if method == ENCRYPTED:
            raise MediaError("encrypted", f"{label} is encrypted")
        if method not in (STORED, DEFLATED):
            raise MediaError("method", f"{label} is compressed by method {method}, not by deflate")
        raw = os.pread(self.file.fileno(), packed, self._data(offset, label))
        if len(raw) < packed:
            raise MediaError("truncated", f"the archive ends within {label}")
        data = raw if method == STORED else inflated(raw, size, label)
        if len(data) != size or (self.zip and zlib.crc32(data) != checksum):
            raise MediaError("broken", f"{label} is not what the archive says it should be")
        return data

    def _data(self, offset: int, label: str) -> int:
        """Where a member's data begins: in a zip, behind a header of its own."""
        if not self.zip:
            return offset
        header = os.pread(self.file.fileno(), LOCAL.size, offset)
        if len(header) < LOCAL.size or not header.startswith(b"PK\3\4"):
            raise MediaError("broken", f"{label} is not where the archive says")
        _, name, extra = LOCAL.unpack(header)
        return offset + LOCAL.size + int(name) + int(extra)


def inflated(raw: bytes, size: int, label: str) -> bytes:
    """Deflated bytes, and never more than one byte beyond what they claim to be."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = engine.decompress(raw, size)
        return data + engine.decompress(engine.unconsumed_tail, 1)
    except zlib.error as exc:
        raise MediaError("broken", f"{label} does not decompress: {exc}") from None


def archive_kind(path: str) -> str:
    """What kind of archive a file is, by its bytes; empty for none."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.read(BLOCK)
            if head.startswith(b"\x1f\x8b"):
                with gzip.open(path) as unpacked:
                    return "tar.gz" if is_tar(unpacked.read(BLOCK)) else ""
            if is_tar(head):
                return "tar"
            return "zip" if head.startswith(ZIP) or zipfile.is_zipfile(file) else ""
    except (OSError, EOFError, zlib.error):
        return ""


def is_tar(head: bytes) -> bool:
    if head[257:262] == b"ustar":
        return True
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def open_archive(path: str, kind: str) -> Archive:
    """An archive, indexed. Raises MediaError ("archive") where it cannot be read."""
    with boundary(MediaError, "archive"):  # zipfile raises a dozen kinds, struct.error among them
        file: BinaryIO = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115
        if kind == "tar.gz":
            file = unpacked(path, file)
        archive = Archive(path, file, kind == "zip")
        found = zip_entries(file) if kind == "zip" else tar_entries(archive)
        for name, entry in found:
            archive.entries[name] = DUPLICATE if name in archive.entries else entry
    return archive


def zip_entries(file: BinaryIO) -> Iterator[Found]:
    """What the central directory lists, but folders."""
    pack = ENTRY.pack
    for found in listed(file):
        name = plain(found.name)
        if name is None or found.name.endswith("/"):
            continue
        method = ENCRYPTED if found.flags & 0x41 else found.method
        yield name, pack(found.offset, found.packed, found.size, method, found.checksum)


def tar_entries(archive: Archive) -> Iterator[Found]:
    """The members of a tar, headers only; links and devices are noted as such."""
    file = archive.file
    with contextlib.closing(tarfile.open(fileobj=file, mode="r:")) as opened:
        while True:
            try:
                info = opened.next()
            except tarfile.TarError as exc:
                archive.torn = f"the archive is damaged behind {opened.offset:,} bytes ({exc})"
                return
            if info is None:
                break
            opened.members = []  # type: ignore[attr-defined]  # which would hold all of them
            name = plain(info.name)
            if name is not None and not info.isdir():
                method = STORED if info.isreg() and not info.issparse() else LINK
                yield name, ENTRY.pack(info.offset_data, info.size, info.size, method, 0)
        rest = os.pread(file.fileno(), BLOCK, opened.offset)
        if rest.strip(b"\0"):
            archive.torn = f"the archive is damaged behind {opened.offset:,} bytes"


def plain(name: str) -> str | None:
    """A member's name as it is asked for; None for one that would lie outside of the archive."""
    if not ODD.search(name):
        return name
    if "\\" in name and "/" not in name:
        name = name.replace("\\", "/")
    name = posixpath.normpath(name)
    return None if name.startswith(("/", "..")) else name


def unpacked(path: str, file: BinaryIO) -> BinaryIO:
    """A gzipped file's content in a temporary file, which goes when nobody reads it any more.

    Images hardly compress: one that grows far beyond that is a bomb.
    """
    limit = os.fstat(file.fileno()).st_size * RATIO + ALLOWANCE
    target: BinaryIO = tempfile.TemporaryFile(prefix="mirage-")  # noqa: SIM115
    with file, gzip.GzipFile(fileobj=file) as content:
        try:
            while piece := content.read1(CHUNK):
                target.write(piece)
                if target.tell() > limit:
                    raise MediaError("bomb", f"{path} unpacks to more than {limit:,} bytes")
        except (EOFError, zlib.error, gzip.BadGzipFile):
            pass  # what stands before the damage is read; the index says where it ends
    target.flush()
    target.seek(0)
    return target
