"""Which files a path means, and what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage.places import relative
from mirage.sources.find import find, natural

from .reading import opened, rows


def files(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"n": 1}\n')


def names(root: Path, path: str, format: str | None = None) -> list[str]:
    found = find(root, path, format)
    return [relative(path, found.root) for path in found.paths]


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    """part-2 stands before part-10, hidden files and folders are passed over."""
    files(
        tmp_path, "d/part-10.jsonl", "d/part-2.jsonl", "d/sub/a.jsonl", "d/.x.jsonl", "d/.y/z.jsonl"
    )
    assert names(tmp_path, "d") == ["part-2.jsonl", "part-10.jsonl", "sub/a.jsonl"]


def test_the_natural_order_is_total() -> None:
    """Names that differ only in leading zeros, or mix digits and letters, still have an order."""
    paths = [Path(name) for name in ("a1", "a01", "1a", "a", "1", "b/2", "a²", "a/1")]
    turned = paths[::-1]
    assert sorted(paths, key=natural) == sorted(turned, key=natural)


def test_a_glob(tmp_path: Path) -> None:
    """Names are relative to what stands before the first wildcard."""
    files(tmp_path, "d/a/1.jsonl", "d/b/2.jsonl", "d/b/3.csv")
    assert names(tmp_path, "d/*/*.jsonl") == ["a/1.jsonl", "b/2.jsonl"]
    assert names(tmp_path, str(tmp_path / "d" / "**" / "*.jsonl")) == ["a/1.jsonl", "b/2.jsonl"]


def test_a_base_with_wildcards_is_literal(tmp_path: Path) -> None:
    """Only the configured path is a pattern, and a file that exists is that file."""
    files(tmp_path, "x[1]/a[2].jsonl", "x[1]/b.jsonl")
    assert names(tmp_path / "x[1]", "*.jsonl") == ["a[2].jsonl", "b.jsonl"]
    assert names(tmp_path / "x[1]", "a[2].jsonl") == ["a[2].jsonl"]


@pytest.mark.parametrize("path", ["absent.jsonl", "absent/*.jsonl", "absent"])
def test_a_missing_path_is_named(tmp_path: Path, path: str) -> None:
    """The message holds the path as it was looked for."""
    with pytest.raises(ValueError, match="absent"):
        opened(tmp_path, path)


def test_mixed_formats_are_named(tmp_path: Path) -> None:
    """What is meant must be said, and can be."""
    files(tmp_path, "d/a.jsonl", "d/b.csv")
    with pytest.raises(ValueError, match=r"csv \(b\.csv\), jsonl \(a\.jsonl\)"):
        find(tmp_path, "d")
    assert names(tmp_path, "d", "csv") == ["b.csv"]


@pytest.mark.parametrize("name", ["d/data.bin", "d/README"])
def test_an_unknown_format_lists_those_that_are_known(tmp_path: Path, name: str) -> None:
    """For a file and for a folder that holds nothing else."""
    files(tmp_path, name)
    for path in (name, "d"):
        with pytest.raises(ValueError, match=r"jsonl .*parquet"):
            find(tmp_path, path)


def test_the_format_can_be_given(tmp_path: Path) -> None:
    """A file of any name is read as the format that is said."""
    files(tmp_path, "data.txt")
    assert rows(tmp_path, "data.txt", format="jsonl") == [{"n": 1}]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    """Nothing to read is a mistake, not an empty dataset."""
    (tmp_path / "d").mkdir()
    with pytest.raises(ValueError, match="holds no data files"):
        opened(tmp_path, "d")
    with pytest.raises(ValueError, match="holds no images"):
        opened(tmp_path, "d", format="imagefolder")


def test_data_in_an_unknown_compression_is_not_passed_over(tmp_path: Path) -> None:
    """Half a dataset would be read, silently."""
    files(tmp_path, "d/a.jsonl", "d/b.jsonl.xz")
    with pytest.raises(ValueError, match=r"b\.jsonl\.xz"):
        find(tmp_path, "d")


def test_images_beside_data_belong_to_it(tmp_path: Path) -> None:
    """A folder with rows and their pictures is read for its rows."""
    files(tmp_path, "d/train.jsonl", "d/images/1.jpg", "d/README.md")
    assert find(tmp_path, "d").format == "jsonl"
    assert names(tmp_path, "d") == ["train.jsonl"]


def test_loops_of_links_end(tmp_path: Path) -> None:
    """A link to a folder above it is entered once."""
    files(tmp_path, "d/a.jsonl")
    (tmp_path / "d" / "again").symlink_to(tmp_path / "d")
    assert names(tmp_path, "d") == ["a.jsonl"]


def test_a_state_of_something_else_is_no_dataset(tmp_path: Path) -> None:
    """Only what `save_to_disk` wrote is taken for it."""
    files(tmp_path, "d/a.jsonl")
    (tmp_path / "d" / "state.json").write_text("{}")
    with pytest.raises(ValueError, match="several formats"):
        find(tmp_path, "d")


def test_split_is_for_datasets(tmp_path: Path) -> None:
    """A key that would have no effect is refused."""
    files(tmp_path, "a.jsonl")
    with pytest.raises(ValueError, match="Hugging Face"):
        opened(tmp_path, "a.jsonl", split="train")


def test_something_that_is_no_file(tmp_path: Path) -> None:
    """A device cannot be read twice."""
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        find(tmp_path, "/dev/null")
