"""What `inspect` finds in a dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from formats.samples import png
from mixture.toys import images, toy

from mirage import dataset
from mirage.errors import ConfigError

GOLDEN = Path(__file__).parents[1] / "formats" / "golden"


def lines(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def llava(id: str, image: str, *said: str) -> dict[str, Any]:
    turns = [
        {"from": "gpt" if at % 2 else "human", "value": "<image>\n" * (not at) + text}
        for at, text in enumerate(said)
    ]
    return {"id": id, "image": image, "conversations": turns}


def test_columns_are_counted_with_types_and_nulls(tmp_path: Path) -> None:
    """A key that is missing counts as null."""
    path = lines(tmp_path / "rows.jsonl", {"a": "xyz", "b": 1}, {"a": None, "b": 2.5}, {"a": "z"})
    found = dataset.inspect(path)
    assert (found.format, found.rows, found.samples) == ("rows", 3, None)
    assert found.columns["a"].kinds == {"text": 2}
    assert found.columns["a"].lengths.summary() == {"min": 1, "median": 1, "p95": 3, "max": 3}
    assert found.columns["b"].kinds == {"integer": 1, "number": 1}
    assert found.columns["b"].rows == 2


def test_samples_are_measured_by_turns_and_answers(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(1))
    (tmp_path / "2.png").write_bytes(png(2, (40, 30)))
    path = lines(
        tmp_path / "l.jsonl",
        llava("a", "1.png", "What?", "A cat."),
        llava("b", "2.png", "What?", "Two.", "Sure?", "Yes, I am."),
    )
    found = dataset.inspect(path)
    assert found.format == "llava"
    assert found.samples is not None
    assert found.samples.turns.summary() == {"min": 2, "median": 2, "p95": 4, "max": 4}
    assert (found.samples.answers.least, found.samples.answers.greatest) == (4, 10)
    assert (found.samples.questions.count, found.samples.questions.sum) == (3, 15)
    assert found.images.types == {"image/png": 2}
    assert (found.images.widths.least, found.images.heights.greatest) == (3, 30)


def test_a_sample_repeats_another_whatever_its_id_and_image_name(tmp_path: Path) -> None:
    """It is the bytes of an image that count."""
    for name, shade in (("1.png", 1), ("same.png", 1), ("2.png", 2)):
        (tmp_path / name).write_bytes(png(shade))
    path = lines(
        tmp_path / "l.jsonl",
        llava("a", "1.png", "What?", "A cat."),
        llava("b", "same.png", "What?", "A cat."),
        llava("c", "2.png", "What?", "A cat."),
        llava("d", "1.png", "What?", "A dog."),
    )
    found = dataset.inspect(path)
    assert found.repeated == 1
    assert (found.images.count, found.images.distinct) == (4, 2)


def test_equal_rows_are_repeated(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", {"a": 1}, {"a": 2}, {"a": 1}, {"a": 1})
    assert dataset.inspect(path).repeated == 2


def test_what_cannot_be_read_is_counted_by_its_kind(tmp_path: Path) -> None:
    """A torn line, a row against the rules and a missing image each have their place."""
    good = llava("a", "gone.png", "What?", "A cat.")
    path = lines(tmp_path / "l.jsonl", good, llava("b", "1.png", "What?"))
    (tmp_path / "1.png").write_bytes(png(1)[:20])
    lines(path, good, llava("b", "1.png", "What?"), llava("c", "1.png", "What?", "A cat."))
    path.write_text(path.read_text() + "{torn\n")
    found = dataset.inspect(path, format="llava")
    assert (found.rows, found.read, found.broken) == (4, 3, 2)
    assert found.unreadable == {"malformed": 1}
    assert found.images.unreadable == {"truncated": 1}


def test_a_limit_is_the_most_rows_that_are_looked_at(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", *({"n": n} for n in range(50)))
    assert dataset.inspect(path, limit=7).rows == 7


def test_rows_to_show_are_drawn_from_all_and_always_the_same(tmp_path: Path) -> None:
    path = lines(tmp_path / "rows.jsonl", *({"n": n} for n in range(500)))
    shown = [row.values["n"] for row in dataset.inspect(path, count=5).shown]
    assert shown == [row.values["n"] for row in dataset.inspect(path, count=5).shown]
    assert shown == sorted(set(shown))
    assert len(shown) == 5
    assert shown[-1] > 50


def test_more_columns_than_are_kept_are_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirage.dataset.inspection.COLUMNS", 2)
    found = dataset.inspect(lines(tmp_path / "rows.jsonl", {"a": 1, "b": 1, "c": 1}, {"d": 1}))
    assert [*found.columns] == ["a", "b"]
    assert found.uncounted == 2


def test_every_golden_file_can_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    for path in (GOLDEN / "llava.jsonl", GOLDEN / "messages.jsonl"):
        found = dataset.inspect(path)
        assert found.format == path.stem
        assert not found.broken
        assert found.samples is not None
        assert found.samples.turns.count == found.rows


def test_a_dataset_of_mimic_it_is_looked_at_as_a_whole(tmp_path: Path) -> None:
    """Instructions, and the images of the store beside them, each time that they are shown."""
    toy(tmp_path)
    found = dataset.inspect(tmp_path / "TOY_instructions.json")
    assert (found.format, found.rows) == ("mimic-it", 2)
    assert found.columns["image_ids"].kinds == {"list": 2}
    assert (found.images.count, found.images.distinct, found.broken) == (2, 2, 0)


def test_an_image_store_is_rows_of_keys_and_images(tmp_path: Path) -> None:
    path = images(tmp_path, "S", ["a", "b", "c"])
    text = path.read_text()
    path.write_text(f"{text[:-1]}, {text[1:]}")
    found = dataset.inspect(path, count=1)
    assert (found.format, found.rows, found.repeated) == ("image-store", 6, 3)
    assert found.columns["image"].kinds == {"image": 6}
    assert (found.images.count, found.images.distinct) == (6, 3)
    assert dataset.inspect(path, limit=2).rows == 2


def test_columns_that_are_described_beside_the_rows_are_understood(tmp_path: Path) -> None:
    said = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    lines(tmp_path / "a.jsonl", {"talk": said})
    about = {"file_name": "a.jsonl", "formatting": "sharegpt", "columns": {"messages": "talk"}}
    tags = {"role_tag": "role", "content_tag": "content"}
    tags |= {"user_tag": "user", "assistant_tag": "assistant"}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"a": {**about, "tags": tags}}))
    found = dataset.inspect(tmp_path / "a.jsonl")
    assert (found.format, found.broken) == ("sharegpt", 0)
    assert found.samples is not None
    assert found.samples.answers.greatest == 3


def test_a_path_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        dataset.inspect(tmp_path / "none.jsonl")
