"""How A-OKVQA names its images, read and written, and what is no row of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from mirage.config.data import SinkConfig, SourceConfig
from mirage.dataset.conversion import Conversion, convert
from mirage.dataset.verification import Violation, verify
from mirage.errors import SinkError
from mirage.formats import shape
from mirage.formats.instruction import IMAGE, Instruction, Shown, turn
from mirage.formats.shape import Reading, among, fit

from .samples import PICTURES

PICTURE = Path(__file__).parent / "golden" / "images" / "1.jpg"
ROW = {
    **{"split": "train", "image_id": 4711, "question_id": "q1", "question": "What is it?"},
    **{"choices": ["cat", "dog"], "correct_choice_idx": 1, "direct_answers": ["dog"]},
    **{"difficult_direct_answer": False, "rationales": ["It barks."]},
}
SAMPLE = Instruction(
    (turn("user", IMAGE, "What is it?"), turn("assistant", "dog")),
    (Shown("7", PICTURES[0]),),
    id="q1",
    choices=("cat", "dog"),
    correct=1,
)


def placed(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PICTURE, folder / name)
    return folder


def converted(here: Path, rows: list[dict[str, Any]], **further: Any) -> list[dict[str, Any]]:
    """Rows from A-OKVQA to A-OKVQA, as the file has them."""
    done(here, rows, **further)
    found: list[dict[str, Any]] = orjson.loads((here / "out.json").read_bytes())
    return found


def done(here: Path, rows: list[dict[str, Any]], coco: str | None, **further: Any) -> Conversion:
    (here / "rows.json").write_bytes(orjson.dumps(rows))
    given = {"path": "rows.json", "format": "a-okvqa", "image_base_path": coco}
    sink = {"path": "out.json", "format": "a-okvqa", **further}
    found = convert(SourceConfig.model_validate(given), SinkConfig.model_validate(sink), base=here)
    assert (found.refused, found.written) == (0, len(rows))
    return found


@pytest.mark.parametrize("name", ["000000004711.jpg", "train2017/000000004711.jpg"])
def test_an_id_is_the_name_of_an_image_of_coco(name: str, tmp_path: Path) -> None:
    """In the folder of its split, or in the folder that is named itself."""
    reading = Reading(among(placed(tmp_path, name), given=True))
    sample = shape("a-okvqa").read(ROW, reading)
    assert not reading.faults
    assert [(id, image.path) for id, image in sample.images] == [
        ("4711", str((tmp_path / name).resolve()))
    ]


def test_an_image_that_is_nowhere_is_told_with_its_names(tmp_path: Path) -> None:
    reading = Reading(among(tmp_path, given=True))
    shape("a-okvqa").read({**ROW, "split": "val"}, reading)
    assert [str(fault) for fault in reading.faults] == [
        "image-missing: no such file: 000000004711.jpg or val2017/000000004711.jpg"
    ]


def test_an_image_of_coco_beside_the_dataset_needs_no_further_column(tmp_path: Path) -> None:
    placed(tmp_path, "train2017/000000004711.jpg")
    assert converted(tmp_path, [ROW], coco=None) == [ROW]


def test_an_image_that_is_elsewhere_is_named_in_a_column(tmp_path: Path) -> None:
    """Its id stays, for the loaders of COCO, and the file is sound without the folder of COCO."""
    coco = placed(tmp_path / "coco", "train2017/000000004711.jpg").resolve()
    (tmp_path / "here").mkdir()
    rows = converted(tmp_path / "here", [ROW], coco=str(coco))
    assert rows == [{**ROW, "image": str(coco / "train2017/000000004711.jpg")}]
    told: list[Violation] = []
    source = SourceConfig(path="out.json", format="a-okvqa")
    assert verify(source, base=tmp_path / "here", report=told.append).sound and not told


def test_a_copied_image_is_named_in_a_column(tmp_path: Path) -> None:
    coco = placed(tmp_path / "coco", "train2017/000000004711.jpg")
    (tmp_path / "here").mkdir()
    (row,) = converted(tmp_path / "here", [ROW], coco=str(coco), copy_images=True)
    assert (tmp_path / "here" / row["image"]).read_bytes() == PICTURE.read_bytes()


def test_an_id_that_is_no_number_stays_a_text() -> None:
    """So do leading zeros, which a number would lose."""
    for id, kept in (("7", 7), ("007", "007"), ("IMG_a", "IMG_a"), ("²", "²")):
        sample = replace(SAMPLE, images=(Shown(id, PICTURES[0]),))
        assert shape("a-okvqa").write(sample)["image_id"] == kept


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"images": (Shown("", PICTURES[0]),)}, "the image has no id"),
        ({"choices": ("dog", "dog")}, "two of the choices are the same"),
        ({"correct": 0}, "not the correct one"),
        ({"correct": 2}, "not the correct one"),
        ({"meta": {"split": 1}}, "'split' is a text"),
        ({"meta": {"difficult_direct_answer": "no"}}, "a boolean"),
        ({"meta": {"question": "Why?"}}, "has a column 'question'"),
    ],
)
def test_a_sample_that_is_no_row_of_it_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(SinkError, match=told):
        shape("a-okvqa").write(replace(SAMPLE, **change))


@pytest.mark.parametrize("name", ["id", "choices", "correct"])
def test_a_sample_without_what_it_asks_for_is_refused(name: str) -> None:
    empty: Any = {"id": "", "choices": (), "correct": None}[name]
    with pytest.raises(SinkError, match=f"no samples without '{name}'"):
        fit(replace(SAMPLE, **{name: empty}), shape("a-okvqa"))


def test_a_question_of_the_test_split_has_no_answer_to_learn_from(tmp_path: Path) -> None:
    reading = Reading(among(placed(tmp_path, "test2017/000000004711.jpg"), given=True))
    hidden = {"correct_choice_idx", "direct_answers", "rationales"}
    row = {key: value for key, value in ROW.items() if key not in hidden}
    shape("a-okvqa").read({**row, "split": "test"}, reading)
    assert [str(fault) for fault in reading.faults] == ["missing: 'correct_choice_idx' is missing"]


def test_an_id_that_is_there_twice_is_told(tmp_path: Path) -> None:
    placed(tmp_path, "000000004711.jpg")
    (tmp_path / "rows.json").write_bytes(orjson.dumps([ROW, {**ROW, "question_id": "q2"}, ROW]))
    told: list[Violation] = []
    verify(SourceConfig(path="rows.json"), base=tmp_path, report=told.append)
    assert [(each.place.rpartition("#")[2], each.rule) for each in told] == [("2", "duplicate-id")]
