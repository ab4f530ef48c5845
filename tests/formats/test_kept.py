"""Golden datasets of the kinds of files that have rules of their own, and a broken twin of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mirage.config.data import SinkConfig
from mirage.dataset import verify
from mirage.dataset.verification import Violation
from mirage.formats import shape
from mirage.formats.instruction import Instruction
from mirage.formats.messages import Messages
from mirage.formats.shape import Reading, among
from mirage.sinks import open_sink
from mirage.sources.shaped import SampleRow

from .samples import comparable, samples
from .test_golden import GOLDEN
from .test_round_trips import read

KEPT = GOLDEN / "kept"
TOLD = {
    "webdataset.broken.tar": "adjacent",
    "parquet.broken.parquet": "hf-features",
    "hf.broken": "hf-features",
    "imagefolder.broken": "image-missing",
}
BATCH = 25


def golden() -> list[Instruction]:
    """What stands in each of them."""
    form = Messages()
    texts = ("What?", "A cat."), ("Or", "?", "This.")
    content = [[{"type": "image"}, {"type": "text", "text": texts[0][0]}]]
    content += [[p for t in texts[1][:2] for p in ({"type": "image"}, {"type": "text", "text": t})]]
    rows = [
        {
            "id": str(number),
            "messages": [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": texts[number - 1][-1]},
            ],
            "images": ["images/1.jpg", "images/2.png"][:number],
        }
        for number, asked in enumerate(content, 1)
    ]
    return [form.read(row, Reading(among(GOLDEN, given=False))) for row in rows]


@pytest.mark.parametrize("name", ["webdataset.tar", "parquet.parquet", "hf", "imagefolder"])
def test_golden_files_keep_the_rules(name: str) -> None:
    """Nothing is wrong with them, and they hold the samples that they were made of."""
    assert verify(KEPT / name).sound
    assert list(map(comparable, read(KEPT, name, "messages"))) == list(map(comparable, golden()))


@pytest.mark.parametrize(("name", "rule"), TOLD.items())
def test_a_broken_twin_of_a_file_is_told_by_its_rule(name: str, rule: str) -> None:
    """A sample torn apart, features that do not say Image, an image that is not there."""
    told: list[Violation] = []
    assert not verify(KEPT / name, report=told.append).sound
    assert {each.rule for each in told if not each.note} == {rule}


@pytest.mark.parametrize("kind", ["parquet", "hf"])
@settings(max_examples=20, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_500_samples_come_back_from_tables(
    kind: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Twenty-five at a time; columns that only some rows have are nulls in a table."""
    form, folder = shape("messages"), tmp_path_factory.mktemp("out")
    drawn = st.lists(samples(form.holds), min_size=BATCH, max_size=BATCH)
    kept = [replace(sample, meta={}) for sample in data.draw(drawn)]
    path = "data.parquet" if kind == "parquet" else "data"
    config = SinkConfig.model_validate({"path": path, "format": "messages", "container": kind})
    sink = open_sink(config, base=folder, declared={})
    part = Path(folder / "parts" / f"part{sink.suffix}")
    part.parent.mkdir()
    report = sink.write(part, map(SampleRow, kept))
    assert (report.rows, report.rejected) == (BATCH, ())
    sink.publish([part], sink.columns([part]))
    assert list(map(comparable, read(folder, path, "messages"))) == list(map(comparable, kept))
