"""Datasets of the hub, with a stand-in for the library's `load_dataset`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from mirage.errors import RunError
from mirage.sources import Bounds, hub

from .reading import opened, read

Load = Callable[..., Any]
IMAGE = {"bytes": b"\x89PNG as it is", "path": "a.png"}


def stand_in(monkeypatch: pytest.MonkeyPatch, load: Load) -> None:
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(hub, "FIRST", 10)
    monkeypatch.setattr(hub, "BATCH", 5)


def stream(count: int, broken_at: int | None = None) -> Any:
    features = datasets.Features({"n": datasets.Value("int64"), "image": datasets.Image()})

    def rows() -> Any:
        for n in range(count):
            if n == broken_at:
                raise ConnectionError("the hub is away")
            yield {"n": n, "image": IMAGE}

    return datasets.IterableDataset.from_generator(rows, features=features)


def test_a_dataset_is_spooled_as_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows come in order, images as they are stored; a second run asks the hub for nothing."""
    calls: list[Any] = []

    def load(*args: Any, **keys: Any) -> Any:
        calls.append((args, keys))
        return stream(47)

    stand_in(monkeypatch, load)
    source = opened(tmp_path, "hf://me/data", subset="small", split="train")
    assert list(source.files()) == []
    stored, records = read(source)
    assert [record.values["n"] for record in records] == list(range(47))
    assert records[0].values["image"] == IMAGE
    assert calls == [(("me/data", "small"), {"split": "train", "streaming": True})]
    again = opened(tmp_path, "hf://me/data", subset="small", split="train")
    assert len(list(again.files())) == 3
    assert [r.place for r in read(again)[1]] == [r.place for r in records]
    assert read(again, stored) == ([], [])
    assert len(calls) == 1


def test_an_interrupted_stream_goes_on_where_it_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces that are on disk are not fetched again, and no row is lost or repeated."""
    stand_in(monkeypatch, lambda *_, **__: stream(47, broken_at=33))
    with pytest.raises(RunError, match=r"hf://me/data cannot be read: .*away"):
        read(opened(tmp_path, "hf://me/data"))
    stand_in(monkeypatch, lambda *_, **__: stream(47))
    source = opened(tmp_path, "hf://me/data")
    assert len(list(source.files())) == 2
    _, records = read(source)
    assert [record.values["n"] for record in records] == list(range(47))


def test_the_limit_stops_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody downloads a dataset for its first rows; a look at them fetches one piece."""
    stand_in(monkeypatch, lambda *_, **__: stream(10_000, broken_at=300))
    source = opened(tmp_path, "hf://me/data", limit=12)
    _, records = read(source, bounds=Bounds(rows=7))
    assert [record.values["n"] for record in records] == list(range(12))
    other = opened(tmp_path, "hf://me/other")
    assert [record.values["n"] for record in other.peek(3)] == [0, 1, 2]
    assert len(list(other.files())) == 1


def test_a_split_must_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only split is read; among several none is guessed."""
    one = datasets.IterableDatasetDict({"train": stream(3)})
    stand_in(monkeypatch, lambda *_, **__: one)
    assert len(read(opened(tmp_path, "hf://me/one"))[1]) == 3
    two = datasets.IterableDatasetDict({"train": stream(3), "test": stream(1)})
    stand_in(monkeypatch, lambda *_, **__: two)
    with pytest.raises(RunError, match="train, test: say which with `split`"):
        read(opened(tmp_path, "hf://me/two"))


def test_an_empty_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no rows, and that is remembered."""
    stand_in(monkeypatch, lambda *_, **__: stream(0))
    assert read(opened(tmp_path, "hf://me/data")) == ([], [])
    assert read(opened(tmp_path, "hf://me/data")) == ([], [])


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setattr("mirage.sources.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"mirage-engine\[hf\]"):
        opened(tmp_path, "hf://me/data")
