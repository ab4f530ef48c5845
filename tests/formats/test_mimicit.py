"""MIMIC-IT as a dataset: three files that give back what they were made of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from xxhash import xxh3_128_hexdigest

from mirage import dataset
from mirage.config.data import SinkConfig, SourceConfig
from mirage.errors import SinkError
from mirage.formats import shape
from mirage.formats.instruction import Instruction, Shown
from mirage.formats.shape import fit
from mirage.sinks import open_sink
from mirage.sources import open_source
from mirage.sources.shaped import SampleRow
from mirage.store import open_store

from .samples import PICTURES, comparable, samples

GOLDEN = Path(__file__).parent / "golden" / "mimic-it" / "TOY"
KEYS = {picture.data: f"KEY_{number}" for number, picture in enumerate(PICTURES)}


def held(data: st.DataObject, number: int) -> Instruction:
    """A sample of a dataset: its id is its own, it relates to the first one, and an image has one
    id wherever it is.
    """
    form = shape("mimic-it")
    try:
        sample = fit(data.draw(samples(form.holds)), form)[0]
        form.write(sample)
    except SinkError:
        assume(False)
    named = data.draw(st.booleans()) or number == 0
    images = [Shown(KEYS[each.data or b""] if named else "", each) for _, each in sample.images]
    related = ("s0" if len(sample.turns) == 2 else "s0_0",) if number == 0 else ()
    return replace(sample, id=f"s{number}" if named else "", images=tuple(images), related=related)


def completed(sample: Instruction, number: int) -> Instruction:
    """The sample with the ids that writing gives it."""
    images = [
        Shown(id or f"OUT_IMG_{xxh3_128_hexdigest(each.data or b'')}", each)
        for id, each in sample.images
    ]
    return replace(sample, id=sample.id or f"OUT_INS_{number:06}", images=tuple(images))


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_dataset_comes_back_from_its_files(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Five samples a time: texts, turns, images, ids, what they relate to, and further keys."""
    folder = tmp_path_factory.mktemp("out")
    kept = [held(data, number) for number in range(5)]
    sink = open_sink(SinkConfig(path="OUT", format="mimic-it"), base=folder, declared={})
    part = folder / f"part{sink.suffix}"
    report = sink.write(part, [SampleRow(sample) for sample in kept])
    assert (report.rows, report.rejected) == (5, ())
    columns = sink.columns([part])
    assert sink.fits(part, columns)
    sink.publish([part], columns)
    source = open_source(
        SourceConfig(path="OUT", format="mimic-it"), base=folder, number=0, spool=folder
    )
    records = [each for span in source.rest(()) for each in source.read(span)]
    assert [each.fault for each in records] == [None] * 5
    back = [each.values.sample for each in records]  # type: ignore[attr-defined]
    wanted = [completed(sample, number) for number, sample in enumerate(kept)]
    assert list(map(comparable, back)) == list(map(comparable, wanted))


def test_the_golden_files_come_back(tmp_path: Path) -> None:
    """Instructions and training set byte for byte, the store with the same images."""
    meta = {"time": "2026-11", "author": "us"}
    done = dataset.convert(GOLDEN, tmp_path / "TOY", to="mimic-it", meta=meta)
    assert (done.source, done.written, done.refused) == ("mimic-it", 4, 0)
    for name in ("TOY_instructions.json", "TOY_train.json"):
        assert (tmp_path / "TOY" / name).read_bytes() == (GOLDEN / name).read_bytes()
    with (
        open_store(tmp_path / "TOY" / "TOY.parquet") as mine,
        open_store(GOLDEN / "TOY.json") as own,
    ):
        assert [(key, mine.read(key)) for key in mine.keys()] == [  # noqa: SIM118 - no mapping
            (key, own.read(key))
            for key in own.keys()  # noqa: SIM118
        ]


def test_a_written_dataset_is_written_again_as_it_was(tmp_path: Path) -> None:
    """Two runs write the same bytes, over what stands there."""
    found = []
    for _ in range(2):
        dataset.convert(GOLDEN, tmp_path / "TOY", to="mimic-it")
        found.append({path.name: path.read_bytes() for path in (tmp_path / "TOY").iterdir()})
    assert found[0] == found[1]
    assert {*found[0]} == {"TOY_instructions.json", "TOY_train.json", "TOY.parquet"}


def test_the_golden_dataset_keeps_the_rules() -> None:
    """All of it: entries, training set, images."""
    found = dataset.verify(GOLDEN)
    assert (found.format, found.rows, found.images, found.sound) == ("mimic-it", 5, 2, True)
    assert not found.notes


TWINS = [
    ("_instructions", '["TOY_IMG_b"]', '["TOY_IMG_c"]', "dangling-image#1"),
    ("_instructions", '["TOY_INS_000000"]', '["TOY_INS_9"]', "dangling-related#1"),
    ("_instructions", '"TOY_INS_000001"', '"TOY_INS_000000"', "duplicate-id#1"),
    ("_instructions", '"answer":"Red."', '"reply":"Red."', "missing#0"),
    ("_instructions", '"answer":"Red."', '"answer":null', "missing#0"),
    ("_instructions", '"rel_ins_ids":[],"source"', '"rel_ins_ids":null,"source"', "missing#4"),
    ("_instructions", '"image_ids":[],', '"image_ids":"TOY_IMG_a",', "type#4"),
    ("_instructions", "What colour", "<image>What colour", "literal-tag#0"),
    ("_instructions", "Red.", "Red.<|endofchunk|>", "literal-tag#0"),
    ("_instructions", "Red.", "Red.<answer>", "literal-tag#0"),
    ("_instructions", '"answer":"Red."', '"answer":Red', "malformed#0"),
    ("_instructions", ',"rel_ins_ids":[],"source":"a list"}\n}}\n', "", "malformed#4"),
    ("_instructions", "}\n}}", "}", "malformed#5"),
    ("_train", '"TOY_INS_000003"', '"TOY_INS_000009"', "train-key#0"),
    ("_train", '["TOY_INS_000002_0"]', '["TOY_INS_9"]', "dangling-related#3"),
    ("_train", '"TOY_INS_000003": []', '"TOY_INS_000003": null', "type#0"),
    ("_train", '"TOY_INS_000003": []', '"TOY_INS_000000": []', "duplicate-key#0"),
    ("_train", "\n}", "", "malformed#0"),
    ("", "/9j/", "/*j/", "base64: byte 118"),
    ("", '"iVBOR', '"iVBOS', "image-unknown: byte 1:"),
    ("", '"}', '"', "torn: byte"),
    ("", '"TOY_IMG_b"', '"TOY_IMG_a"', "duplicate-key: byte"),
]


@pytest.mark.parametrize(("name", "old", "new", "rule"), TWINS)
def test_a_broken_twin_is_told_by_its_rule(
    name: str, old: str, new: str, rule: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And by its place: each of them has one thing changed in one file."""
    folder = tmp_path_factory.mktemp("twin")
    for path in GOLDEN.iterdir():
        text = path.read_text("utf-8")
        if path.name == f"TOY{name}.json":
            assert old in text
            text = text.replace(old, new, 1)
        (folder / path.name).write_text(text, "utf-8")
    told: list[str] = []
    found = dataset.verify(folder, report=lambda v: told.append(f"{v.rule} {v.place}"))
    assert not found.sound
    kind, place = re.split("(?=[#:])", rule, maxsplit=1)
    assert [each for each in told if each.startswith(f"{kind} ") and place in each], told


@pytest.mark.parametrize("given", ["", '"image_ids":null,'], ids=["missing", "null"])
def test_a_row_of_text_may_have_no_list_of_images(tmp_path: Path, given: str) -> None:
    """The loader forgives that, so that it is a note, and the row is read."""
    folder = tmp_path / "TOY"
    folder.mkdir()
    for path in GOLDEN.iterdir():
        text = path.read_text("utf-8").replace('"image_ids":[],', given)
        (folder / path.name).write_text(text, "utf-8")
    found = dataset.verify(folder)
    assert (found.sound, dict(found.notes)) == (True, {"missing": 1})
    assert dataset.convert(folder, tmp_path / "out.json", to="llava").refused == 0


def test_everything_wrong_is_told_in_one_run(tmp_path: Path) -> None:
    """One twin with all of it."""
    for path in GOLDEN.iterdir():
        text = path.read_text("utf-8")
        for name, old, new, _ in (TWINS[0], TWINS[3], TWINS[6], TWINS[13], TWINS[18]):
            if path.name == f"TOY{name}.json":
                text = text.replace(old, new, 1)
        (tmp_path / path.name).write_text(text, "utf-8")
    found = dataset.verify(tmp_path)
    rules = {"dangling-image", "missing", "type", "train-key", "base64"}
    assert {*found.broken} == rules
    assert found.rows == 5


def test_datasets_of_one_folder_may_share_a_store(tmp_path: Path) -> None:
    """It is looked at once."""
    for path in GOLDEN.iterdir():
        for name in ("ONE", "TWO"):
            if path.name != "TOY.json":
                (tmp_path / path.name.replace("TOY", name)).write_bytes(path.read_bytes())
    found = dataset.verify(tmp_path, images_store=GOLDEN / "TOY.json")
    assert (found.rows, found.images, found.sound) == (10, 2, True)
