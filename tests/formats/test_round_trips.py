"""Every format gives back what it was given, as far as it holds it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mirage.config.data import SinkConfig, SourceConfig
from mirage.errors import SinkError
from mirage.formats import SHAPES, shape
from mirage.formats.instruction import Instruction
from mirage.formats.shape import Joint, Reading, Shape, among, fit
from mirage.record import Record
from mirage.sinks import open_sink
from mirage.sources import open_source
from mirage.sources.shaped import SampleRow

from .samples import comparable, samples

FILES = [(name, kind) for name in SHAPES for kind in shape(name).containers if kind != "folder"]
"""Samples of a folder need ids that differ: see `tests/sinks/test_mimicit.py`."""
SUFFIXES = {"json": ".json", "jsonl": ".jsonl", "parquet": ".parquet", "hf": ""}


def written(sample: Instruction, form: Shape) -> tuple[Instruction, dict[str, object]]:
    """The sample as the format holds it, and its row; what it refuses is not looked at."""
    try:
        kept, _ = fit(sample, form)
        return kept, form.write(kept)
    except SinkError:
        assume(False)
        raise


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_sample_comes_back_from_its_row(name: str, data: st.DataObject) -> None:
    """`read(write(x)) == x` for whatever the format holds of x, and no rule is broken."""
    form = shape(name)
    kept, row = written(data.draw(samples(form.holds)), form)
    reading = Reading(among(None, given=False))
    back = form.read(row, reading)
    assert not reading.broken
    assert comparable(back) == comparable(kept)


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=50)
@given(data=st.data())
def test_what_is_lost_is_named(name: str, data: st.DataObject) -> None:
    """The fields that `fit` names are those, and only those, in which two samples differ."""
    form = shape(name)
    sample = data.draw(samples(form.holds))
    kept, lost = fit(sample, form)
    differ = {
        field
        for field in Instruction.__struct_fields__
        if getattr(sample, field) != getattr(kept, field)
    }
    named = {"images" if each == "image ids" else each for each in lost}
    named = {"turns" if each == "image positions" else each for each in named}
    assert differ == named
    assert fit(kept, form) == (kept, ())


@pytest.mark.parametrize(("name", "kind"), FILES)
@settings(
    max_examples=5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_dataset_comes_back_from_its_files(
    name: str, kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Through the sink, the disk and the source, in every kind of file that the format is kept in;
    columns that only some rows have are nulls in a table, so that `meta` is left to JSON. Nobody
    can read an ImageFolder with a list of no images. Rows that break a rule together are not kept.
    """
    form = shape(name)
    folder = tmp_path_factory.mktemp("out")
    kept = [written(data.draw(samples(form.holds)), form)[0] for _ in range(3)]
    if kind in ("parquet", "hf"):
        kept = [replace(sample, meta={}) for sample in kept]
    if kind == "imagefolder":
        kept = [sample for sample in kept if sample.images]
        assume(kept)
    if isinstance(form, Joint):
        together = form.together()
        kept = [sample for sample in kept if not [*together(sample)]]
    path = f"data{SUFFIXES.get(kind, '')}"
    config = SinkConfig.model_validate({"path": path, "format": name, "container": kind})
    sink = open_sink(config, base=folder, declared={})
    part = folder / "parts" / f"part{sink.suffix}"
    part.parent.mkdir()
    report = sink.write(part, [SampleRow(sample) for sample in kept])
    assert (report.rows, report.rejected) == (len(kept), ())
    sink.publish([part], sink.columns([part]))
    assert list(map(comparable, read(folder, path, name))) == list(map(comparable, kept))


def read(folder: Path, path: str, name: str) -> list[Instruction]:
    config = SourceConfig.model_validate({"path": path, "format": name})
    source = open_source(config, base=folder, number=0, spool=folder / "spool")
    records: list[Record] = [each for span in source.rest(()) for each in source.read(span)]
    assert [each.fault for each in records] == [None] * len(records)
    return [each.values.sample for each in records]  # type: ignore[attr-defined]
