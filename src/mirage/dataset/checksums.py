"""MD5 sums of files, as datasets are published with them: one sum, or a list of `md5sum`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from mirage.formats.shape import Fault

SUM = re.compile(r"[0-9a-fA-F]{32}")
LINE = re.compile(r"([0-9a-fA-F]{32}) [ *](.+)")


def md5_faults(path: Path, given: str) -> Iterator[tuple[str, Fault]]:
    """The files that differ, and how. `given` is the sum of the file at `path`, or a file of sums:
    lines of `md5sum`, whose names are relative to that file.

    Raises ValueError where it is neither.
    """
    for file, wanted in sums(path, given):
        name = str(file)
        if not file.is_file():
            yield name, Fault("md5", "there is no such file")
        elif (found := md5_of(file)) != wanted.lower():
            yield name, Fault("md5", f"the sum is {found}, not {wanted.lower()}")


def sums(path: Path, given: str) -> list[tuple[Path, str]]:
    if SUM.fullmatch(given):
        if path.is_dir():
            raise ValueError(f"{path} is a folder: one sum is that of a file; give a list of sums")
        return [(path, given)]
    listing = Path(given)
    if not listing.is_file():
        raise ValueError(
            f"{given} is neither an MD5 sum (32 hexadecimal digits) nor a file of them"
        )
    found = []
    for number, line in enumerate(listing.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{listing}:{number}: no line of md5sum: {line[:100]!r}")
        found.append((listing.parent / match[2], match[1]))
    if not found:
        raise ValueError(f"{listing} holds no sums")
    return found


def md5_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
