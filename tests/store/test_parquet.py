"""Stores in Parquet that others have written: pandas, dask, and who knows whom."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mirage.errors import MediaError
from mirage.store import Finding, ImageStore, open_store
from mirage.store import parquet as module
from mirage.store.pages import Chunk
from mirage.store.parquet import Parquet

from .making import images, parquet_file, texts

OF = images(300)
ENCODINGS: list[dict[str, Any]] = [
    {},
    {"compression": "none"},
    {"compression": "gzip"},
    {"compression": "brotli"},
    {"compression": "zstd"},
    {"compression": "lz4"},
    {"data_page_version": "2.0"},
    {"data_page_version": "2.0", "compression": "zstd", "use_dictionary": False},
    {"use_dictionary": False, "write_batch_size": 7, "data_page_size": 1_000},
    {"row_group_size": 41},
    {"use_dictionary": False, "column_encoding": {"base64": "DELTA_LENGTH_BYTE_ARRAY"}},
    {"use_dictionary": False, "column_encoding": {"base64": "DELTA_BYTE_ARRAY"}},
    {"write_statistics": False},
]


def frame(of: dict[str, bytes]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(texts(of), orient="index", columns=["base64"])


def holds(store: ImageStore, of: dict[str, bytes]) -> bool:
    """Whether a store gives what it should, asked in any order."""
    keys = list(of)
    random.Random(1).shuffle(keys)
    return list(store.keys()) == list(of) and all(store.read(key) == of[key] for key in keys)


@pytest.mark.parametrize("options", ENCODINGS, ids=str)
def test_a_frame_of_pandas_is_read_however_it_is_packed(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    frame(OF).to_parquet(tmp_path / "x.parquet", **options)
    with open_store(tmp_path / "x.parquet") as store:
        assert holds(store, OF)
        assert len(store) == len(OF)
        assert list(store.faults()) == []


def test_parts_of_dask_are_read(tmp_path: Path) -> None:
    """Their index is `__null_dask_index__`."""
    dask = pytest.importorskip("dask.dataframe")
    dask.from_pandas(frame(OF), npartitions=5).to_parquet(tmp_path / "x")
    with open_store(tmp_path / "x") as store:
        assert holds(store, OF)
        assert list(store.faults()) == []


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()], ids=str)
def test_texts_may_be_of_any_kind(tmp_path: Path, kind: pa.DataType) -> None:
    values = pa.array(list(texts(OF).values())).cast(kind)
    table = pa.table({"key": pa.array(list(OF)).cast(kind), "base64": values})
    pq.write_table(table, tmp_path / "x.parquet")
    with open_store(tmp_path / "x.parquet") as store:
        assert holds(store, OF)


def test_keys_may_be_numbers(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "x.parquet", [7, 12], ["QQ==", "Qg=="])
    with open_store(path) as store:
        assert list(store.keys()) == ["7", "12"]
        assert store.read("12") == b"B"


def test_a_plain_column_is_read_and_told(tmp_path: Path) -> None:
    """pandas would give it an index from 0, in which no key is found."""
    path = parquet_file(tmp_path / "x.parquet", OF, texts(OF).values())
    with open_store(path) as store:
        assert holds(store, OF)
        assert [each.rule for each in store.faults()] == ["pandas-index"]


@pytest.mark.parametrize("repeat", [1, 500])
def test_null_is_no_image_and_shifts_none(tmp_path: Path, repeat: int) -> None:
    """With few different texts they stand in a dictionary."""
    values = ["QQ==", None, "Qg==", ""] * repeat
    path = parquet_file(tmp_path / "x.parquet", [f"{n:05}" for n in range(len(values))], values)
    with open_store(path) as store:
        for at in range(0, len(values), 4):
            assert store.read(f"{at:05}") == b"A"
            assert store.read(f"{at + 2:05}") == b"B"
        with pytest.raises(MediaError) as caught:
            store.read("00001")
        assert caught.value.kind == "type"


def test_a_key_that_is_null_is_told_with_its_row(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "x.parquet", ["a", None, "c"], ["QQ==", "Qg==", "Qw=="])
    told: list[Finding] = []
    with open_store(path) as store:
        assert [entry.key for entry in store.entries(told.append)] == ["a", "c"]
        assert store.read("c") == b"C"
    assert told == [Finding(f"{path}: row 1", "key", "the key is null")]


def test_sorted_keys_need_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: object) -> None:
        raise AssertionError

    monkeypatch.setattr("mirage.store.store.Index", never)
    frame(OF).to_parquet(tmp_path / "x.parquet", row_group_size=10)
    with open_store(tmp_path / "x.parquet") as store:
        assert store.read("TOY_IMG_000123") == OF["TOY_IMG_000123"]
        for missing in ("", "TOY_IMG_0001234", "Z"):
            assert missing not in store


def test_keys_in_any_order_are_found(tmp_path: Path) -> None:
    keys = list(OF)
    random.Random(2).shuffle(keys)
    mixed = {key: OF[key] for key in keys}
    frame(mixed).to_parquet(tmp_path / "x.parquet", row_group_size=10)
    with open_store(tmp_path / "x.parquet") as store:
        assert holds(store, mixed)
        assert "Z" not in store


def test_the_first_of_equal_keys_counts_and_the_others_are_told(tmp_path: Path) -> None:
    """Within a row group, and across them."""
    for name, size in (("one", 4), ("two", 2)):
        path = tmp_path / f"{name}.parquet"
        parquet_file(path, "abab", ["QQ==", "Qg==", "Qw==", "RA=="], row_group_size=size)
        with open_store(path) as store:
            assert store.read("a") == b"A"
            assert [(each.place, each.rule, each.message) for each in store.duplicates()] == [
                (f"{path}: row 2", "duplicate-key", f"'a' stands at {path}: row 0 as well"),
                (f"{path}: row 3", "duplicate-key", f"'b' stands at {path}: row 1 as well"),
            ]


def test_a_part_that_is_damaged_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    keys = list(OF)
    for part in range(3):
        some = {key: OF[key] for key in keys[part * 100 : part * 100 + 100]}
        frame(some).to_parquet(tmp_path / f"part.{part}.parquet")
    torn = tmp_path / "part.1.parquet"
    torn.write_bytes(torn.read_bytes()[:-50])
    told: list[Finding] = []
    with open_store(tmp_path) as store:
        assert sum(1 for _ in store.entries(told.append)) == 200
        assert store.read(keys[250]) == OF[keys[250]]
        assert store.where(store.entries().__next__()) == f"{tmp_path}/part.0.parquet: row 0"
    assert [(each.place, each.rule) for each in told] == [(str(torn), "broken")]


def test_a_look_up_reads_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although there is one row group alone, as pandas writes it."""
    path = tmp_path / "x.parquet"
    frame(OF).to_parquet(path, use_dictionary=False, write_batch_size=1, data_page_size=1_000)
    read: list[int] = []
    once = Chunk.page

    def counted(chunk: Any, place: Any) -> Any:
        read.append(place.packed)
        return once(chunk, place)

    monkeypatch.setattr(Chunk, "page", counted)
    with open_store(path) as store:
        store.read("TOY_IMG_000200")
    assert len(read) == 1
    assert read[0] < 3_000 < path.stat().st_size / 10


def test_a_part_of_more_than_2_gb_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame(OF).to_parquet(tmp_path / "x.parquet")
    monkeypatch.setattr(module, "MAX_PART", 1_000)
    with open_store(tmp_path / "x.parquet") as store:
        assert [each.rule for each in store.faults()] == ["part-size"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["a"], "text": ["b"]}, "no column 'base64'"),
        ({"base64": ["QQ=="]}, "no column of keys"),
    ],
)
def test_another_table_is_no_store(
    tmp_path: Path, columns: dict[str, list[str]], said: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=said):
        open_store(tmp_path / "x.parquet")


def test_parts_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    keys = list(OF)
    for part in range(12):
        some = {key: OF[key] for key in keys[part * 25 : part * 25 + 25]}
        frame(some).to_parquet(tmp_path / f"part.{part}.parquet")
    with open_store(tmp_path) as store:
        assert list(store.keys()) == keys


def test_opening_reads_one_footer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder with any number of parts."""
    for part in range(5):
        frame(OF).to_parquet(tmp_path / f"part.{part}.parquet")
    opened: list[int] = []
    once = Parquet._opened

    def counted(self: Parquet, part: int) -> Any:
        opened.append(part)
        return once(self, part)

    monkeypatch.setattr(Parquet, "_opened", counted)
    open_store(tmp_path).close()
    assert opened == [0]
