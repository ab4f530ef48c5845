"""MIMIC-IT is written: ids and image keys over all parts, and a folder that appears whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_128_hexdigest

from mirage.errors import RunError
from mirage.record import Image, Sink
from mirage.store import open_store

from .making import JPEG, PNG, errors, image, publish, sink, write


def row(id: str = "", *images: Image, turns: int = 1, **further: Any) -> dict[str, Any]:
    """A neutral row; images stand in its first question."""
    said: list[dict[str, Any]] = []
    for number in range(turns):
        asked = [{"type": "image"}] * len(images) * (not number)
        said.append({"role": "user", "content": [*asked, {"type": "text", "text": f"Q{number}"}]})
        said.append({"role": "assistant", "content": f"A{number}"})
    return {"id": id, "messages": said, "images": [*images], **further}


def out(base: Path, **keys: Any) -> Sink:
    return sink(base, "OUT", format="mimic-it", **keys)


def entries(base: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((base / "OUT" / "OUT_instructions.json").read_text())["data"]
    return found


def trained(base: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((base / "OUT" / "OUT_train.json").read_text())
    return found


def stored(base: Path) -> dict[str, bytes]:
    with open_store(base / "OUT" / "OUT.parquet") as store:
        return {key: store.read(key) for key in store.keys()}  # noqa: SIM118 - no mapping


def test_a_sample_is_an_entry_of_the_training_set(tmp_path: Path) -> None:
    """Its ids are kept, and those that are missing are made: by number, and by content."""
    shown = image(PNG), image(JPEG)
    publish(
        out(tmp_path), tmp_path, [row("a", *shown, image_ids=["K", ""]), row()], [row("", image())]
    )
    made = f"OUT_IMG_{xxh3_128_hexdigest(JPEG)}", f"OUT_IMG_{xxh3_128_hexdigest(PNG)}"
    assert {id: each["image_ids"] for id, each in entries(tmp_path).items()} == {
        "a": ["K", made[0]],
        "OUT_INS_000001": [],
        "OUT_INS_000002": [made[1]],
    }
    assert trained(tmp_path) == {"a": [], "OUT_INS_000001": [], "OUT_INS_000002": []}
    assert stored(tmp_path) == {"K": PNG, made[0]: JPEG, made[1]: PNG}


def test_a_conversation_is_an_entry_for_each_question(tmp_path: Path) -> None:
    """Each is related to those before it; the training set has the last one."""
    publish(out(tmp_path), tmp_path, [row("e"), row("c", image(), turns=3, related=["e"])])
    found = entries(tmp_path)
    assert [*found] == ["e", "c_0", "c_1", "c_2"]
    assert [found[f"c_{n}"]["rel_ins_ids"] for n in range(3)] == [
        ["e"],
        ["e", "c_0"],
        ["e", "c_0", "c_1"],
    ]
    assert found["c_0"]["image_ids"] == found["c_2"]["image_ids"]
    assert trained(tmp_path) == {"e": [], "c_2": ["e", "c_0", "c_1"]}


def test_the_same_image_is_stored_once(tmp_path: Path) -> None:
    """In one part or in several."""
    publish(out(tmp_path), tmp_path, [row("a", image()), row("b", image())], [row("c", image())])
    assert [*stored(tmp_path).values()] == [PNG]


@pytest.mark.parametrize("blocks", [[2, 1], [1, 2], [1, 1, 1]])
def test_an_id_that_stands_twice_is_refused(tmp_path: Path, blocks: list[int]) -> None:
    """The row that has it first is written; the other is not."""
    rows = [row("a"), row("b"), row("a", image())]
    cut = [[rows.pop(0) for _ in range(count)] for count in blocks]
    reports = publish(out(tmp_path), tmp_path, *cut)
    told = [message for report in reports for message in errors(report).values()]
    assert told == ["an earlier row has the id a as well"]
    assert [*entries(tmp_path)] == ["a", "b"]
    assert stored(tmp_path) == {}


def test_an_id_made_for_a_turn_may_stand_already(tmp_path: Path) -> None:
    """Then the conversation is refused."""
    (report,) = publish(out(tmp_path), tmp_path, [row("c_1"), row("c", turns=2)])
    assert errors(report) == {1: "an earlier row has the id c_1 as well"}


@pytest.mark.parametrize("together", [True, False])
def test_a_key_of_two_images_is_refused(tmp_path: Path, together: bool) -> None:
    """With both places, whether they are in one part or not."""
    (tmp_path / "1.jpg").write_bytes(JPEG)
    rows = [
        row("a", image(PNG, "a.png"), image_ids=["K"]),
        row("b", Image("1.jpg", path=str(tmp_path / "1.jpg")), image_ids=["K"]),
        row("c", image(PNG), image_ids=["K"]),
    ]
    reports = publish(out(tmp_path), tmp_path, *([rows] if together else [[each] for each in rows]))
    (told,) = [message for report in reports for message in errors(report).values()]
    assert told == f"K is another image in a.png of a than in {tmp_path}/1.jpg of b"
    assert [*entries(tmp_path)] == ["a", "c"]
    assert stored(tmp_path) == {"K": PNG}


def test_what_relates_to_nothing_loses_that(tmp_path: Path) -> None:
    """A related id that is in no part, or whose row was refused, is counted as lost."""
    rows = [row("a"), row("b", related=["a", "nope"]), row("a"), row("c", related=["a"])]
    (report,) = publish(out(tmp_path), tmp_path, rows)
    assert dict(report.lost) == {"related": 1}
    assert trained(tmp_path) == {"a": [], "b": ["a"], "c": ["a"]}


def test_a_strict_sink_refuses_what_relates_to_nothing(tmp_path: Path) -> None:
    """And what relates to that, in turn."""
    from mirage.config.data import SinkConfig
    from mirage.sinks import open_sink

    config = SinkConfig(path="OUT", format="mimic-it")
    strict = open_sink(config, base=tmp_path, declared={}, strict=True)
    rows = [row("a", related=["b"]), row("b", related=["nope"]), row("c")]
    (report,) = publish(strict, tmp_path, rows)
    assert errors(report) == {0: "no instruction b", 1: "no instruction nope"}
    assert [*entries(tmp_path)] == ["c"]


def test_what_the_loader_would_misread_is_refused(tmp_path: Path) -> None:
    """Its own tags in a text, its own keys among further ones, and what JSON cannot hold."""
    odd = "\ud800"
    answer = {"role": "assistant", "content": "an <answer>"}
    tagged = row("a") | {"messages": [*row()["messages"][:1], answer]}
    rows = [tagged, row("b", meta={"rel_ins_ids": 1}), row("c", meta={"x": float("nan")}), row("d")]
    rows += [row(odd), row("e", related=[odd]), row("f", image(), image_ids=[odd])]
    (report,) = publish(out(tmp_path), tmp_path, rows)
    assert {*errors(report)} == {0, 1, 2, 4, 5, 6}
    assert [*entries(tmp_path)] == ["d"]


def test_an_image_that_cannot_be_read_is_its_row_s_trouble(tmp_path: Path) -> None:
    """None of the row's other images is stored."""
    gone = Image("gone.png", path=str(tmp_path / "gone.png"))
    (report,) = publish(out(tmp_path), tmp_path, [row("a", image(), gone), row("b")])
    assert {*errors(report)} == {0}
    assert stored(tmp_path) == {}


def test_further_keys_and_what_the_file_says_of_itself(tmp_path: Path) -> None:
    """`meta` of a row stands beside its answer, that of the sink at the top."""
    publish(out(tmp_path, meta={"author": "us"}), tmp_path, [row("a", turns=2, meta={"x": [1]})])
    whole = json.loads((tmp_path / "OUT" / "OUT_instructions.json").read_text())
    assert whole["meta"] == {"version": "0.0.1", "time": "", "author": "us"}
    assert ["x" in each for each in whole["data"].values()] == [False, True]


def test_no_rows_are_a_dataset_too(tmp_path: Path) -> None:
    """Three files that hold nothing."""
    publish(out(tmp_path), tmp_path)
    assert (entries(tmp_path), trained(tmp_path), stored(tmp_path)) == ({}, {}, {})


@pytest.mark.parametrize("name", ["notes.txt", "OTHER_train.json", "OUT.parquet/else.txt"])
def test_a_folder_with_anything_else_is_left_alone(tmp_path: Path, name: str) -> None:
    """It would be replaced whole."""
    (tmp_path / "OUT" / name).parent.mkdir(parents=True)
    (tmp_path / "OUT" / name).touch()
    with pytest.raises(RunError, match="not part of the dataset"):
        out(tmp_path).check()


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    """The dataset would be a folder."""
    (tmp_path / "OUT").touch()
    with pytest.raises(RunError, match="would be a folder"):
        out(tmp_path).check()


def test_a_dataset_that_cannot_be_published_leaves_the_old_one(tmp_path: Path) -> None:
    """Nothing half-written is left beside it."""
    publish(out(tmp_path), tmp_path, [row("a")])
    to = out(tmp_path)
    parts, _ = write(to, tmp_path, [row("b")], [row("b")])
    with pytest.raises(RunError):
        to.publish(parts, to.columns(parts))
    assert [*entries(tmp_path)] == ["a"]
    assert {path.name for path in tmp_path.iterdir()} == {"OUT", "run"}


def test_rows_of_entries_may_be_kept_in_lines(tmp_path: Path) -> None:
    """In JSONL, images are files and an entry is a row."""
    lines = sink(tmp_path, "rows.jsonl", format="mimic-it")
    publish(lines, tmp_path, [row("a", image())])
    (kept,) = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert json.loads(kept)["images"][0].startswith("images/")
