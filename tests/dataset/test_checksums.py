"""MD5 sums: of one file, or of a list."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from mirage.dataset import verify
from mirage.dataset.verification import Violation
from mirage.errors import ConfigError

ROWS = b'{"id": 1}\n{"id": 2}\n'
SUM = hashlib.md5(ROWS).hexdigest()
OTHER = "0" * 32


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS)
    return path


def found(path: Path, md5: str) -> list[Violation]:
    told: list[Violation] = []
    assert verify(path, md5=md5, report=told.append).sound is not bool(told)
    return told


def test_the_sum_of_the_file(rows: Path) -> None:
    """In letters of either case."""
    assert found(rows, SUM.upper()) == []


def test_another_sum(rows: Path) -> None:
    """Both are told; the rows are looked at all the same."""
    assert found(rows, OTHER) == [Violation(str(rows), "md5", f"the sum is {SUM}, not {OTHER}")]


def test_a_list_of_sums(rows: Path) -> None:
    """As `md5sum` writes it, names relative to the list; a file that is not there is told."""
    listing = rows.parent / "MD5SUMS"
    listing.write_text(f"{SUM}  rows.jsonl\n{OTHER} *gone.jsonl\n")
    (violation,) = found(rows, str(listing))
    assert (Path(violation.place).name, violation.rule) == ("gone.jsonl", "md5")


def test_an_archive_as_it_is_distributed(tmp_path: Path) -> None:
    """Of a zip file only the sum can be looked at."""
    path = tmp_path / "LA.zip"
    path.write_bytes(b"PK")
    assert found(path, hashlib.md5(b"PK").hexdigest()) == []
    assert [each.rule for each in found(path, OTHER)] == ["md5"]


@pytest.mark.parametrize("given", ["abc", "f" * 31, "nowhere.md5"])
def test_what_is_no_sum(rows: Path, given: str) -> None:
    """Neither 32 digits nor a file is a mistake of the command."""
    with pytest.raises(ConfigError, match="neither an MD5 sum"):
        verify(rows, md5=given)


def test_a_list_that_is_none(rows: Path) -> None:
    """Its line is told."""
    listing = rows.parent / "sums.txt"
    listing.write_text(f"{SUM}  rows.jsonl\nhello\n")
    with pytest.raises(ConfigError, match=r"sums.txt:2: no line of md5sum"):
        verify(rows, md5=str(listing))


def test_one_sum_of_a_folder(rows: Path) -> None:
    """It would be the sum of nothing."""
    with pytest.raises(ConfigError, match="is a folder"):
        verify(rows.parent, md5=SUM)
