"""TRL itself as the judge of what is written for it: `make test-engines` installs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import orjson
import pytest

from mirage.config.data import SinkConfig, SourceConfig
from mirage.dataset.conversion import convert

pytest.importorskip("trl", reason="make test-engines installs it")

from transformers import AutoProcessor
from trl.data_utils import prepare_multimodal_messages
from trl.trainer.dpo_trainer import DataCollatorForVisionPreference
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

GOLDEN = Path(__file__).parents[1] / "formats" / "golden"
FORMATS = {"trl": "messages", "trl-preference": "prompt"}


def loaded(name: str, folder: Path, suffix: str = ".parquet") -> datasets.Dataset:
    """The golden rows of a format, through our sink and the reader of `datasets`."""
    source = SourceConfig.model_validate({"path": str(GOLDEN / f"{name}.jsonl"), "format": name})
    target = folder / f"data{suffix}"
    container = None if suffix else "hf"
    sink = SinkConfig.model_validate({"path": str(target), "format": name, "container": container})
    done = convert(source, sink, base=folder)
    assert (done.refused, done.written) == (0, done.read)
    if not suffix:
        return datasets.load_from_disk(str(target))
    kind = {".jsonl": "json"}.get(suffix, suffix[1:])
    return datasets.load_dataset(
        kind, data_files=str(target), split="train", cache_dir=str(folder / "cache")
    )


@pytest.mark.parametrize("suffix", [".parquet", "", ".jsonl"])
@pytest.mark.parametrize("name", FORMATS)
def test_trl_prepares_every_row(name: str, suffix: str, tmp_path: Path) -> None:
    """Every image stands in the part that had its place, and every text is what it was."""
    golden = [orjson.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()]
    rows = list(loaded(name, tmp_path, suffix))
    assert len(rows) == len(golden)
    for row, given in zip(rows, golden, strict=True):
        key = FORMATS[name]
        said = prepare_multimodal_messages(row[key], row["images"])
        assert [each for part in parts(said) if (each := part.get("image"))] == row["images"]
        assert [(part["type"], part.get("text")) for part in parts(said)] == [
            (part["type"], part.get("text")) for part in parts(given[key])
        ]
        for answer in ("chosen", "rejected") if name == "trl-preference" else ():
            said = prepare_multimodal_messages(row[answer])
            assert not any(part["type"] == "image" for part in parts(said))


def parts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [part for each in messages for part in each["content"]]


def test_a_batch_for_sft_has_rows_with_and_without_images(
    checkpoints: Path, tmp_path: Path
) -> None:
    """One batch of all rows, as `SFTTrainer` makes it, has all their images."""
    processor = AutoProcessor.from_pretrained(checkpoints / "llava")
    rows = list(loaded("trl", tmp_path))
    batch = DataCollatorForVisionLanguageModeling(processor)(rows)
    assert len(batch["input_ids"]) == len(rows)
    assert len(batch["pixel_values"]) == sum(len(row["images"]) for row in rows)


def test_a_batch_of_preferences_has_rows_with_and_without_images(
    checkpoints: Path, tmp_path: Path
) -> None:
    """As `DPOTrainer` makes it: every image twice, for the chosen and the rejected answer."""
    processor = AutoProcessor.from_pretrained(checkpoints / "llava")
    rows = list(loaded("trl-preference", tmp_path))
    count = sum(len(row["images"]) for row in rows)
    batch = DataCollatorForVisionPreference(processor)(rows)
    assert len(batch["input_ids"]) == 2 * len(rows)
    assert len(batch["pixel_values"]) == 2 * count


def test_null_for_images_is_no_list_to_some_collators(checkpoints: Path, tmp_path: Path) -> None:
    """Conversations are taken with it; a prompt with a completion, or with two answers, is not."""
    processor = AutoProcessor.from_pretrained(checkpoints / "llava")
    sft, dpo = (
        DataCollatorForVisionLanguageModeling(processor),
        DataCollatorForVisionPreference(processor),
    )
    said = [row | {"images": row["images"] or None} for row in loaded("trl", tmp_path)][:3]
    assert len(sft(said)["input_ids"]) == 3
    cut = [
        {
            "prompt": row["messages"][:-1],
            "completion": row["messages"][-1:],
            "images": row["images"],
        }
        for row in said
    ]
    pairs = [row | {"images": row["images"] or None} for row in loaded("trl-preference", tmp_path)]
    for collate, rows in ((sft, cut), (dpo, pairs)):
        with pytest.raises((TypeError, ValueError)):
            collate(rows)


def test_trl_refuses_what_we_call_broken() -> None:
    """Too many images, too few, and roles that it does not know."""
    lines = (GOLDEN / "trl.broken.jsonl").read_bytes().splitlines()
    twins = [orjson.loads(line) for line in lines]
    rows = [twin["row"] for twin in twins if twin["rule"] == "tag-count" or "human" in str(twin)]
    assert len(rows) >= 4
    for row in rows:
        with pytest.raises(ValueError, match=r"role|placeholders"):
            prepare_multimodal_messages(row["messages"], row["images"])


def test_a_tag_in_a_plain_content_is_taken_for_text() -> None:
    """TRL puts the image in front of all text, and the tag stays: the row is wrong, not refused."""
    said = prepare_multimodal_messages([{"role": "user", "content": "Is <image> red?"}], ["pixels"])
    assert said[0]["content"] == [
        {"type": "image", "image": "pixels"},
        {"type": "text", "text": "Is <image> red?"},
    ]
