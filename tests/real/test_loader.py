"""A mixture in torch's DataLoader: by number, in batches of one group, and as a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from formats.samples import png
from mixture.toys import declared, images, instructions, many, toy
from mixture.toys import entry as made

import mirage

pytest.importorskip("torch", reason="make test-engines installs it")

from torch.utils.data import DataLoader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two groups of 40 and 23."""
    keys = [f"I_{n}" for n in range(40)]
    toy(tmp_path)
    images(tmp_path, "B", keys)
    instructions(tmp_path, "B", {f"B_{key}": made("?", "!", [key]) for key in keys})
    text = "IMAGE_TEXT:\n  B: {mimicit_path: B_instructions.json, images_path: B.json}\n"
    return declared(tmp_path, f"{text}TEXT_ONLY:\n{many(tmp_path, 'A', 23)}")


def together(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return items


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_one_group_reach_the_loop(path: Path, workers: int) -> None:
    examples = mirage.load_mixture(path)
    sampler = examples.batches(8)
    loader = DataLoader(
        examples,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=together,
    )
    found = [*loader]
    assert len(found) == len(loader) == 5 + 3
    assert all(len({item["group"] for item in batch}) == 1 for batch in found)
    seen = {item["id"]: item["images"] for batch in found for item in batch}
    assert len(seen) == 63
    assert seen["B_I_7"] == [png(7)]
    sampler.set_epoch(1)
    assert [[item["id"] for item in batch] for batch in loader] != [
        [item["id"] for item in batch] for batch in found
    ]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_stream_reaches_the_loop_once_over_its_workers(path: Path, workers: int) -> None:
    examples = mirage.load_mixture(path)
    _ = examples[0]  # the files are open before the workers are made
    loader = DataLoader(
        examples.stream(),
        batch_size=None,
        num_workers=workers,
    )
    ids = [item["id"] for item in loader]
    assert len(ids) == len({*ids}) == 63
    assert [item["id"] for item in loader] == ids


def test_a_loader_may_shuffle_by_itself(path: Path) -> None:
    examples = mirage.load_mixture(path, transform=lambda item: len(item["images"]))
    loader = DataLoader(examples, batch_size=10, shuffle=True)
    assert sum(int(batch.sum()) for batch in loader) == 40
