"""MIMIC-IT's own files as rows: the training set, conversations, and images found in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mirage.errors import SourceChangedError
from mirage.formats.instruction import Instruction
from mirage.record import Record
from mirage.sources.blocks import BOUNDS, Bounds
from mirage.sources.mimicit_files import datasets
from mirage.store import StoreWriter

from .reading import opened, read

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))


def entry(number: int, images: Sequence[str] = (), related: Sequence[str] = ()) -> dict[str, Any]:
    texts = {"instruction": f"Q{number}?", "answer": f"A{number}."}
    return {**texts, "image_ids": [*images], "rel_ins_ids": [*related]}


def dataset(
    folder: Path, data: dict[str, Any], train: Any = None, store: Sequence[str] = ("a", "b")
) -> None:
    """TOY in a folder; a store without keys is none."""
    (folder / "TOY_instructions.json").write_text(json.dumps({"meta": {}, "data": data}))
    if train is not None:
        (folder / "TOY_train.json").write_text(json.dumps(train))
    if store:
        with StoreWriter(folder / "TOY.parquet") as writer:
            for key in store:
                writer.add(key, PNG + key.encode())


def records(folder: Path, path: str = ".", bounds: Bounds = BOUNDS, **keys: Any) -> list[Record]:
    return read(opened(folder, path, format="mimic-it", **keys), bounds=bounds)[1]


def samples(folder: Path, path: str = ".", **keys: Any) -> list[Instruction]:
    found = records(folder, path, **keys)
    assert [each.fault for each in found] == [None] * len(found)
    return [each.values.sample for each in found]  # type: ignore[attr-defined]


def faults(folder: Path) -> list[str]:
    return [each.fault.message if each.fault else "" for each in records(folder)]


def test_the_keys_of_the_training_file_are_the_training_set(tmp_path: Path) -> None:
    """In the order of the instructions; its values are what they relate to."""
    data = {"x": entry(0), "y": entry(1, related=["nowhere"]), "z": entry(2)}
    dataset(tmp_path, data, {"z": [], "y": ["x"]})
    assert [(each.id, each.related) for each in samples(tmp_path)] == [("y", ("x",)), ("z", ())]


def test_without_a_training_file_every_entry_is_a_sample(tmp_path: Path) -> None:
    """Related to what it says itself."""
    dataset(tmp_path, {"x": entry(0), "y": entry(1, related=["x"])})
    assert [(each.id, each.related) for each in samples(tmp_path)] == [("x", ()), ("y", ("x",))]


def test_a_conversation_is_one_sample(tmp_path: Path) -> None:
    """Its last question is in the training set, related to the ones before, of the same images."""
    data = {"e": entry(9), "c_0": entry(0, "a", "e"), "c_1": entry(1, "a"), "c_2": entry(2, "a")}
    dataset(tmp_path, data, {"c_2": ["e", "c_0", "c_1"]})
    (sample,) = samples(tmp_path)
    assert (sample.id, sample.related) == ("c", ("e",))
    assert [each.text for each in sample.turns] == ["Q0?", "A0.", "Q1?", "A1.", "Q2?", "A2."]
    assert [id for id, _ in sample.images] == ["a"]


@pytest.mark.parametrize(
    ("train", "images"),
    [
        ({"c_0": [], "c_1": ["c_0"]}, "aa"),
        ({"c_1": []}, "aa"),
        ({"c_1": ["c_0"]}, "ab"),
        ({"c_1": ["c_0", "e"]}, "aa"),
    ],
    ids=["each of them", "unrelated", "other images", "something behind"],
)
def test_what_is_no_conversation_is_not_made_one(
    tmp_path: Path, train: dict[str, list[str]], images: str
) -> None:
    """Examples in context stay what they are."""
    data = {"c_0": entry(0, images[0]), "c_1": entry(1, images[1]), "e": entry(2)}
    dataset(tmp_path, data, train)
    found = samples(tmp_path)
    assert {each.id: list(each.related) for each in found} == train
    assert all(len(each.turns) == 2 for each in found)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_spans_never_cut_a_conversation(tmp_path: Path, limit: int) -> None:
    """However few rows a span may have."""
    data = {f"c{n}_{k}": entry(k, "a") for n in range(4) for k in range(3)}
    train = {f"c{n}_2": [f"c{n}_0", f"c{n}_1"] for n in range(4)}
    dataset(tmp_path, data, train)
    found = records(tmp_path, bounds=Bounds(rows=limit, size=300))
    assert [each.values["id"] for each in found] == ["c0", "c1", "c2", "c3"]


@pytest.mark.parametrize("place", ["TOY.parquet", "TOY/part.0.parquet", "TOY.json", "else.json"])
def test_the_store_is_found(tmp_path: Path, place: str) -> None:
    """One file, a folder of parts, or JSON; `images` names one that stands elsewhere."""
    dataset(tmp_path, {"x": entry(0, "ab")}, store=())
    with StoreWriter(tmp_path / place) as writer:
        writer.add("a", PNG)
        writer.add("b", PNG + b"b")
    keys = {"images": place} if place == "else.json" else {}
    (sample,) = samples(tmp_path, "TOY_instructions.json", **keys)
    assert [(id, image.read()) for id, image in sample.images] == [("a", PNG), ("b", PNG + b"b")]


def test_a_folder_may_hold_several_datasets(tmp_path: Path) -> None:
    """Each with its own training set and store."""
    for name in ("ONE", "TWO"):
        data = {f"{name}_1": entry(1), f"{name}_2": entry(2)}
        (tmp_path / f"{name}_instructions.json").write_text(json.dumps({"data": data}))
        (tmp_path / f"{name}_train.json").write_text(json.dumps({f"{name}_2": []}))
    assert [each.id for each in samples(tmp_path)] == ["ONE_2", "TWO_2"]
    assert [each.id for each in samples(tmp_path, "T*_instructions.json")] == ["TWO_2"]


@pytest.mark.parametrize(
    ("data", "train", "rule"),
    [
        ({"x": entry(0, ["nope"])}, None, "dangling-image: x: nope"),
        ({"x": entry(0, related=["nope"])}, None, "dangling-related: x: nope"),
        ({"x": entry(0)}, {"x": ["nope"]}, "dangling-related: x: nope"),
        ({"x": entry(0)}, {"x": [], "nope": []}, "TOY_train.json: nope has no instruction"),
        ({"x": entry(0)}, {"x": None}, "TOY_train.json: x has no list"),
        ({"x": entry(0) | {"rel_ins_ids": None}}, None, "'rel_ins_ids' is null"),
        ({"x": entry(0) | {"answer": None}}, None, "'answer' is missing"),
        ({"x": "Q?"}, None, "x is no object"),
    ],
)
def test_a_row_that_breaks_a_rule_is_a_fault(
    tmp_path: Path, data: dict[str, Any], train: Any, rule: str
) -> None:
    """With the id that it is about."""
    dataset(tmp_path, data, train)
    (told,) = filter(None, faults(tmp_path))
    assert rule in told


def test_an_id_that_stands_twice_is_told_with_both_places(tmp_path: Path) -> None:
    """The first one counts."""
    one = json.dumps(entry(0))
    (tmp_path / "TOY_instructions.json").write_text(f'{{"data": {{"x": {one}, "x": {one}}}}}')
    first, second = records(tmp_path)
    assert first.fault is None
    assert "duplicate-id: x stands at byte 10" in str(second.fault)
    assert second.place == "0/TOY_instructions.json#1"


def test_images_without_a_store_are_missing(tmp_path: Path) -> None:
    """Which is no trouble of rows that have none."""
    dataset(tmp_path, {"x": entry(0), "y": entry(1, "a")}, store=())
    fine, lacking = faults(tmp_path)
    assert not fine
    assert "dangling-image: y: a is not in any image store" in lacking


def test_another_training_set_is_another_source(tmp_path: Path) -> None:
    """A run that has begun with one cannot go on with the other."""
    dataset(tmp_path, {"x": entry(0), "y": entry(1)}, {"x": []})
    (span,) = opened(tmp_path, ".", format="mimic-it").rest(())
    assert opened(tmp_path, ".", format="mimic-it").intact(span)
    dataset(tmp_path, {"x": entry(0), "y": entry(1)}, {"y": []}, store=())
    assert not opened(tmp_path, ".", format="mimic-it").intact(span)


def test_rows_in_other_files_are_read_as_rows(tmp_path: Path) -> None:
    """Lines of entries, their images by path, are no files of MIMIC-IT's own."""
    (tmp_path / "a.png").write_bytes(PNG)
    row = {"id": "x", **entry(0, "a"), "images": ["a.png"]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (sample,) = samples(tmp_path, "rows.jsonl")
    assert [image.read() for _, image in sample.images] == [PNG]


def test_a_list_of_that_name_is_a_list(tmp_path: Path) -> None:
    """Nothing but an object of entries is MIMIC-IT's own file."""
    row = {"id": "x", **entry(0), "images": []}
    (tmp_path / "MY_instructions.json").write_text(json.dumps([row]))
    (sample,) = samples(tmp_path, "MY_instructions.json")
    assert sample.id == "x"
    assert not datasets(tmp_path, asked=False)
    assert not datasets(tmp_path / "**.jsonl", asked=False)


def test_an_entry_has_no_say_in_what_a_row_adds(tmp_path: Path) -> None:
    """Its id is its key, and its images are those of the store."""
    dataset(tmp_path, {"x": entry(0, "a") | {"id": 7, "images": ["/etc/passwd"], "weight": 2}})
    (sample,) = samples(tmp_path)
    assert (sample.id, dict(sample.meta)) == ("x", {"weight": 2})
    assert [image.read() for _, image in sample.images] == [PNG + b"a"]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """As a whole, when it is opened."""
    (tmp_path / "TOY_instructions.json").write_text('{"meta": {}}')
    with pytest.raises(ValueError, match="no object `data`"):
        opened(tmp_path, ".", format="mimic-it")


def test_a_file_that_was_cut_is_a_changed_source(tmp_path: Path) -> None:
    """There are fewer rows than were surveyed."""
    dataset(tmp_path, {"x": entry(0), "y": entry(1), "z": entry(2)})
    source = opened(tmp_path, ".", format="mimic-it")
    (span,) = source.rest(())
    (tmp_path / "TOY_instructions.json").write_text('{"data": {"x": ')
    with pytest.raises(SourceChangedError):
        list(opened(tmp_path, ".", format="mimic-it").read(span))
