"""A mixture for a training loop, without torch; `tests/real/test_loader.py` has a DataLoader."""

from __future__ import annotations

import pickle
from multiprocessing import get_context
from pathlib import Path

import pytest
from formats.samples import png

import mirage
from mirage.errors import ConfigError
from mirage.mixture import loading
from mirage.mixture.loading import Examples
from mixture.toys import declared, images, many, toy


def several(folder: Path) -> Examples:
    """Two groups of 10 and 6."""
    toy(folder, more="    num_samples: 6\n")
    text = (folder / "data.yaml").read_text() + f"TEXT_ONLY:\n{many(folder, 'A', 10)}"
    return mirage.load_mixture(declared(folder, text))


def test_an_item_has_its_text_and_the_bytes_of_its_images(tmp_path: Path) -> None:
    toy(tmp_path)
    examples = mirage.load_mimicit(tmp_path / "TOY_instructions.json", images=tmp_path / "TOY.json")
    assert len(examples) == 2
    item = examples[1]
    assert item["id"] == "TOY_INS_000001"
    assert item["dataset"] == "TOY"
    assert item["text"].startswith("<image>User:What colour is it?")
    assert item["images"] == [png(1)]
    assert examples[-1] == item
    assert [each["id"] for each in examples] == ["TOY_INS_000000", "TOY_INS_000001"]
    with pytest.raises(IndexError):
        examples[2]


def test_a_transform_makes_the_item(tmp_path: Path) -> None:
    path = toy(tmp_path)
    examples = mirage.load_mixture(path, transform=lambda item: len(item["images"]))
    assert [*examples] == [1, 1]


def test_a_group_that_there_is_not_is_a_mistake(tmp_path: Path) -> None:
    toy(tmp_path)
    with pytest.raises(ConfigError, match="must be one of IMAGE_TEXT"):
        mirage.load_mimicit(tmp_path / "TOY_instructions.json", group="IMAGES")


def test_a_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    toy(tmp_path)
    with pytest.raises(ConfigError, match=r"lost.json does not exist"):
        mirage.load_mimicit(tmp_path / "TOY_instructions.json", images=tmp_path / "lost.json")


def test_batches_are_of_one_group_and_can_be_gone_through_again(tmp_path: Path) -> None:
    examples = several(tmp_path)
    batches = examples.batches(4)
    first = [*batches]
    assert first == [*batches]
    assert len(first) == len(batches) == 2 + 3
    assert sorted(n for batch in first for n in batch) == [*range(16)]
    assert all(len({examples[n]["group"] for n in batch}) == 1 for batch in first)
    batches.set_epoch(1)
    assert [*batches] != first
    full = examples.batches(4, drop_last=True)
    assert len([*full]) == len(full) == 1 + 2
    with pytest.raises(ValueError, match="at least one"):
        examples.batches(0)


def test_a_stream_has_every_example_once_over_ranks(tmp_path: Path) -> None:
    examples = several(tmp_path)
    streams = [examples.stream(rank=rank, ranks=3) for rank in range(3)]
    seen = [[item["id"] for item in stream] for stream in streams]
    assert [len(each) for each in seen] == [len(stream) for stream in streams] == [6, 5, 5]
    assert sorted(id for each in seen for id in each) == sorted(each["id"] for each in examples)
    with pytest.raises(ValueError, match="none of"):
        examples.stream(rank=3, ranks=3)


def test_a_stream_is_shuffled_by_epoch(tmp_path: Path) -> None:
    stream = several(tmp_path).stream()
    first = [item["id"] for item in stream]
    assert first == [item["id"] for item in stream]
    stream.set_epoch(1)
    second = [item["id"] for item in stream]
    assert second != first
    assert sorted(second) == sorted(first)


def test_a_stream_that_is_not_shuffled_keeps_the_order(tmp_path: Path) -> None:
    examples = several(tmp_path)
    stream = examples.stream(shuffle=False)
    assert [item["id"] for item in stream] == [item["id"] for item in examples]


def test_workers_share_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = several(tmp_path).stream(rank=1, ranks=2)
    seen = []
    for worker in range(3):
        monkeypatch.setattr(loading, "worker_of", lambda worker=worker: (worker, 3))
        seen += [item["id"] for item in stream]
    monkeypatch.undo()
    assert sorted(seen) == sorted(item["id"] for item in stream)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_examples_are_read_in_other_processes(tmp_path: Path, method: str) -> None:
    """Which open the files for themselves, also where this one has them open already."""
    examples = mirage.load_mixture(toy(tmp_path))
    mine = [examples[0], examples[1]]
    with get_context(method).Pool(2) as pool:
        assert pool.map(examples.__getitem__, [0, 1]) == mine
    assert pickle.loads(pickle.dumps(examples))[0] == mine[0]


def test_of_a_store_no_more_is_read_than_an_item_shows(tmp_path: Path) -> None:
    """A store that is broken elsewhere harms no item."""
    path = toy(tmp_path)
    store = images(tmp_path, "TOY", ["TOY_IMG_a", "TOY_IMG_b"])
    text = store.read_text()
    store.write_text(text[: text.index("TOY_IMG_b") + 20] + '*"}')
    examples = mirage.load_mixture(path)
    assert examples[0]["images"] == [png(0)]
