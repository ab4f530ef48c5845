"""Transformers as the judge of what is written for axolotl, which hands messages to it as they are.

Axolotl itself wants more than is installed here; it takes nulls out of a row, and that is all.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import datasets
import pytest

from mirage.config.data import SinkConfig, SourceConfig
from mirage.dataset.conversion import convert

pytest.importorskip("torch", reason="make test-engines installs it")

GOLDEN = Path(__file__).parents[1] / "formats" / "golden"


def test_every_image_is_loaded_by_its_part(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From whichever folder the training is started in."""
    from transformers import AutoProcessor

    shutil.copytree(GOLDEN / "images", tmp_path / "images")
    shutil.copy(GOLDEN / "axolotl.jsonl", tmp_path)
    source = SourceConfig(path="axolotl.jsonl", format="axolotl")
    convert(source, SinkConfig(path="out.jsonl", format="axolotl"), base=tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    rows = datasets.load_dataset(
        "json",
        data_files=str(tmp_path / "out.jsonl"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    processor = AutoProcessor.from_pretrained(checkpoints / "llava")
    batch = processor.apply_chat_template(
        [without_nulls(row["messages"]) for row in rows],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        padding=True,
    )
    assert len(batch["input_ids"]) == 3
    assert len(batch["pixel_values"]) == 3


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value
