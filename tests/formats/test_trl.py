"""What is written for TRL as `datasets` reads it, and what is read besides."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import datasets
import orjson
import pytest
from msgspec.structs import replace

from mirage.config.data import SinkConfig, SourceConfig
from mirage.dataset.conversion import convert
from mirage.errors import SinkError
from mirage.formats import recognise, shape
from mirage.formats.instruction import IMAGE, Instruction, Shown, turn
from mirage.formats.shape import Reading, among

from .samples import PICTURES

GOLDEN = Path(__file__).parent / "golden"
PARTS = datasets.List({"type": datasets.Value("string"), "text": datasets.Value("string")})
MESSAGES = datasets.List({"role": datasets.Value("string"), "content": PARTS})
IMAGES = datasets.List(datasets.Image())
QUESTION = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}
ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}
OTHER = {"role": "assistant", "content": [{"type": "text", "text": "A dog."}]}
SHOWN = (turn("user", IMAGE, "What?"), turn("assistant", "A cat."))


def read(name: str, row: dict[str, Any]) -> tuple[Instruction, Reading]:
    reading = Reading(among(GOLDEN, given=False))
    return shape(name).read(row, reading), reading


def sound(name: str, row: dict[str, Any]) -> Instruction:
    sample, reading = read(name, row)
    assert not reading.faults
    return sample


def loaded(name: str, folder: Path, kind: str, rows: list[dict[str, Any]]) -> datasets.Dataset:
    """Rows through our source and sink, and then through `datasets`."""
    shutil.copytree(GOLDEN / "images", folder / "images")
    (folder / "rows.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    source = SourceConfig.model_validate({"path": "rows.jsonl", "format": name})
    sink = SinkConfig.model_validate({"path": f"out.{kind}", "format": name, "container": kind})
    if kind == "hf":
        sink = sink.model_copy(update={"path": "out"})
    done = convert(source, sink, base=folder)
    assert (done.written, done.lost) == (len(rows), {})
    if kind == "hf":
        return datasets.load_from_disk(str(folder / "out"))
    return datasets.load_dataset(
        "parquet",
        data_files=str(folder / "out.parquet"),
        split="train",
        cache_dir=str(folder / "cache"),
    )


def golden(name: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize("kind", ["parquet", "hf"])
def test_images_are_a_list_of_the_feature_image(kind: str, tmp_path: Path) -> None:
    """Decoded by `datasets`, in order; a row of text has an empty list of them."""
    rows = loaded("trl", tmp_path, kind, golden("trl"))
    assert (rows.features["images"], rows.features["messages"]) == (IMAGES, MESSAGES)
    sizes = [[image.size for image in row["images"]] for row in rows]
    assert sizes == [[(6, 4)], [(6, 4), (5, 5)], [], [(5, 5)]]


@pytest.mark.parametrize("kind", ["parquet", "hf"])
def test_a_dataset_of_text_alone_has_the_same_features(kind: str, tmp_path: Path) -> None:
    """So that it goes together with one that has images; its contents are lists of parts too."""
    rows = loaded("trl", tmp_path, kind, [row for row in golden("trl") if not row["images"]])
    assert (rows.features["images"], rows.features["messages"]) == (IMAGES, MESSAGES)
    assert rows[0]["images"] == []


def test_preferences_have_the_columns_of_dpo(tmp_path: Path) -> None:
    rows = loaded("trl-preference", tmp_path, "parquet", golden("trl-preference")[:2])
    assert rows.column_names == ["id", "images", "prompt", "chosen", "rejected"]
    assert all(rows.features[key] == MESSAGES for key in ("prompt", "chosen", "rejected"))
    assert [len(row["prompt"]) for row in rows] == [1, 4]


def test_images_stand_before_the_first_plain_content_of_the_user() -> None:
    """As TRL puts them there."""
    said = [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A cat."}]
    assert sound("trl", {"messages": said, "images": ["images/1.jpg"]}).turns == SHOWN
    assert sound("trl", {"messages": said, "image": "images/1.jpg"}).turns == SHOWN


def test_a_prompt_with_its_completion_is_a_conversation() -> None:
    row = {"prompt": [QUESTION], "completion": [ANSWER], "images": ["images/1.jpg"]}
    assert recognise([row]) == "trl"
    assert sound("trl", row).turns == SHOWN


def test_a_prompt_may_stand_in_front_of_both_answers() -> None:
    """Where there are no images: TRL takes it out of them for text only."""
    asked = {"role": "user", "content": "What?"}
    row = {"chosen": [asked, ANSWER], "rejected": [asked, OTHER]}
    assert recognise([row]) == "trl-preference"
    sample, reading = read("trl-preference", row)
    assert not reading.broken
    assert [each.text for each in sample.turns] == ["What?", "A cat."]
    assert sample.rejected == "A dog."
    _, reading = read("trl-preference", {**row, "images": []})
    assert {fault.rule for fault in reading.broken} == {"messages"}


def test_null_in_place_of_images_is_for_conversations_only() -> None:
    said = [{"role": "user", "content": "What?"}, ANSWER]
    assert sound("trl", {"messages": said, "images": None}).images == ()
    row = {"prompt": said[:1], "completion": said[1:], "images": None}
    assert {fault.rule for fault in read("trl", row)[1].broken} == {"images"}


@pytest.mark.parametrize("row", [{"image": "images/1.jpg"}, {"label": True}, {"prompt": "x"}])
def test_a_further_column_with_a_name_of_trl_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(SinkError, match="the format itself has a column"):
        shape("trl").write(Instruction(SHOWN, (Shown("", PICTURES[0]),), meta=row))


def test_a_literal_tag_is_refused() -> None:
    """In any text: models whose image token it is would count it."""
    sound = Instruction((turn("user", "A tag?"), SHOWN[1]), rejected="No.")
    form = shape("trl-preference")
    assert form.write(sound)["rejected"][0]["content"] == [{"type": "text", "text": "No."}]
    tagged = turn("user", "An <image> tag?")
    for other in ({"turns": (tagged, SHOWN[1])}, {"system": "<image>"}, {"rejected": "<image>"}):
        with pytest.raises(SinkError, match="would be read as a tag"):
            form.write(replace(sound, **other))
