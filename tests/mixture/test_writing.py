"""An epoch through the sinks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from formats.samples import png
from places.stores import store

import mirage
from mirage import dataset
from mirage.config.data import SinkConfig
from mirage.dataset.conversion import Conversion
from mirage.errors import ConfigError
from mirage.mixture import open_mixture
from mirage.mixture.writing import rendering, write_mixture
from mixture.toys import TOY, declared, entry, images, instructions, many, toy

__all__ = ["store"]


def write(path: Path, out: str, render: str = "", **given: Any) -> Conversion:
    sink = SinkConfig.model_validate({"path": out, "format": given.pop("to", None)})
    made = rendering(render) if render else None
    return write_mixture(open_mixture(path), sink, base=path.parent, render=made, **given)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_epoch_is_written_in_a_training_format(tmp_path: Path) -> None:
    """Related turns in, one image, and every rule of the format kept."""
    done = write(toy(tmp_path), "out/train.json", to="llava")
    assert (done.read, done.written, done.refused) == (2, 2, 0)
    found = {row["id"]: row for row in json.loads((tmp_path / "out/train.json").read_text())}
    said = [each["value"] for each in found["TOY_INS_000001"]["conversations"]]
    assert said == ["<image>\nWhat colour is it?", "Red.", "And this one?", "Blue."]
    shown = tmp_path / "out" / found["TOY_INS_000001"]["image"]
    assert shown.read_bytes() == png(1)
    assert dataset.verify(tmp_path / "out/train.json").sound


def test_an_epoch_is_written_as_text(tmp_path: Path) -> None:
    write(toy(tmp_path, "IMAGE_TEXT_IN_CONTEXT"), "text.parquet", "simple")
    found = {row["id"]: row for row in pq.read_table(tmp_path / "text.parquet").to_pylist()}
    row = found["TOY_INS_000001"]
    assert row["text"].startswith("<image>User:What colour is it? GPT:<answer>Red.<|endofchunk|>")
    assert row["image_ids"] == ["TOY_IMG_a", "TOY_IMG_b"]
    assert [each["bytes"] for each in row["images"]] == [png(0), png(1)]
    assert (row["group"], row["dataset"]) == ("IMAGE_TEXT_IN_CONTEXT", "TOY")


def test_what_cannot_be_written_is_listed_with_file_id_and_rule(tmp_path: Path) -> None:
    path = toy(tmp_path)
    odd = {"lost": entry("What?", "This.", ["gone"]), "two": entry("?", "!", [*"ab"])}
    instructions(tmp_path, "TOY", TOY | odd)
    images(tmp_path, "TOY", ["TOY_IMG_a", "TOY_IMG_b", "a", "b"])
    done = write(path, "out.jsonl", "simple")
    assert (done.read, done.written, done.refused) == (4, 2, 2)
    assert isinstance(done.failures, Path)
    failed = {row["place"].rpartition(" ")[2]: row["message"] for row in lines(done.failures)}
    assert "dangling-image" in failed["lost"]
    assert "tag-count" in failed["two"]
    assert write(path, "all.jsonl", to="messages").refused == 1  # a sample may show two


def test_the_order_is_that_of_seed_and_epoch(tmp_path: Path) -> None:
    path = declared(tmp_path, f"TEXT_ONLY:\n{many(tmp_path, 'A', 60)}")
    order = {}
    for name, epoch in (("a", 0), ("b", 0), ("c", 1)):
        write(path, f"{name}.jsonl", "simple", epoch=epoch)
        order[name] = [row["id"] for row in lines(tmp_path / f"{name}.jsonl")]
    assert order["a"] == order["b"] != order["c"]
    assert sorted(order["a"]) == sorted(order["c"]) == [f"A_INS_{n:03}" for n in range(60)]


def test_batches_of_one_group_follow_each_other(tmp_path: Path) -> None:
    images(tmp_path, "B", ["b"])
    entries = {f"B_INS_{n}": entry("?", "!", ["b"]) for n in range(8)}
    instructions(tmp_path, "B", entries)
    text = f"TEXT_ONLY:\n{many(tmp_path, 'A', 12)}IMAGE_TEXT:\n"
    text += "  B: {mimicit_path: B_instructions.json, images_path: B.json}\n"
    path, mixed = declared(tmp_path, text), False
    for epoch in range(4):
        write(path, "out.jsonl", "simple", batch_size=4, epoch=epoch)
        groups = [row["group"] for row in lines(tmp_path / "out.jsonl")]
        assert [len({*groups[at : at + 4]}) for at in range(0, 20, 4)] == [1] * 5
        mixed = mixed or groups not in (sorted(groups), sorted(groups, reverse=True))
    assert mixed


@pytest.mark.parametrize("out", ["TOY.json", "TOY_instructions.json", "../"])
def test_what_is_read_is_never_replaced(tmp_path: Path, out: str) -> None:
    (tmp_path / "in").mkdir()
    path = toy(tmp_path / "in")
    with pytest.raises(ValueError, match="would take the place of"):
        write(path, out, to="messages")


def test_an_epoch_is_written_as_a_dataset_of_mimic_it(tmp_path: Path) -> None:
    """Which can be mixed again: the earlier question is an instruction of its own."""
    write(toy(tmp_path), "again/", to="mimic-it")
    assert dataset.verify(tmp_path / "again").sound
    found = mirage.load_mimicit(
        tmp_path / "again/again_instructions.json",
        images=tmp_path / "again/again.parquet",
        train=tmp_path / "again/again_train.json",
    )
    texts = {item["text"] for item in found}
    assert texts == {item["text"] for item in mirage.load_mixture(tmp_path / "data.yaml")}


def test_a_tokenizer_is_needed_for_its_template() -> None:
    with pytest.raises(ValueError, match="give its folder"):
        rendering("chat")


def test_an_epoch_is_written_to_a_store(tmp_path: Path, store: Any) -> None:
    """The same bytes as here; the datasets themselves are read at random, and stay here."""
    path = toy(tmp_path)
    write(path, "here.jsonl", "simple")
    assert write(path, "memory://bucket/epoch.jsonl", "simple").written == 2
    assert store.cat_file("/bucket/epoch.jsonl") == (tmp_path / "here.jsonl").read_bytes()
    afar = tmp_path / "afar.yaml"
    afar.write_text("IMAGE_TEXT: {A: {mimicit_path: 's3://bucket/a.json'}}")
    with pytest.raises(ConfigError, match="copy it here first"):
        open_mixture(afar)
