"""MIMIC-IT in a run, with several processes: read block by block, and written as one dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mirage import api, dataset
from mirage.dataset import mimicit, stores
from mirage.store import StoreWriter, open_store

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(40))
CONFIG = """
source: {{path: TOY, format: mimic-it}}
engine: {{backend: fake}}
inputs:
  - {{name: id, key: "{id}"}}
  - {{name: question, key: "messages[0].text"}}
  - {{name: photo, key: images, type: image}}
outputs: [{{name: better, prompt: "{{question}}", images: []}}]
output_schema:
  id: "{{id}}"
  images: "{{photo}}"
  messages:
    - {{role: user, content: [{{type: image}}, {{type: text, text: "{{question}}"}}]}}
    - {{role: assistant, content: "{{better}}"}}
sink: {{path: out/NEW, format: mimic-it}}
run: {{dir: {run}, block_rows: 3, workers: {workers}}}
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten entries, of which one is not in the training set, and three images."""
    folder = tmp_path / "TOY"
    data = {
        f"x{n}": {"instruction": f"Q{n}", "answer": "A", "image_ids": [f"i{n % 3}"]}
        | {"rel_ins_ids": []}
        for n in range(10)
    }
    with StoreWriter(folder / "TOY.parquet") as store:
        for number in range(3):
            store.add(f"i{number}", PNG + bytes([number]))
    (folder / "TOY_instructions.json").write_text(json.dumps({"data": data}))
    (folder / "TOY_train.json").write_text(json.dumps({f"x{n}": [] for n in range(10) if n != 4}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(base: Path, id: str, workers: int = 1, run: str = "run") -> tuple[Any, dict[str, Any]]:
    (base / "c.yaml").write_text(CONFIG.format(id=id, workers=workers, run=run))
    summary = api.run("c.yaml")
    found = json.loads((base / "out" / "NEW" / "NEW_instructions.json").read_text())
    return summary, found["data"]


def test_entries_and_images_that_are_verified_are_counted(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other: ten entries, then three images."""
    for module in (mimicit, stores):
        monkeypatch.setattr(module, "STEP", 1)
    seen: list[int] = []
    dataset.verify(toy / "TOY", progress=seen.append)
    assert seen == list(range(1, 14))


def test_a_run_reads_the_training_set_and_writes_another(toy: Path) -> None:
    """Block by block; an image of several blocks is stored once."""
    summary, data = ran(toy, "id")
    assert (summary.counts.read, summary.counts.written) == (9, 9)
    assert [*data] == [f"x{n}" for n in range(10) if n != 4]
    with open_store(toy / "out" / "NEW" / "NEW.parquet") as store:
        assert sorted(map(store.read, store.keys())) == [PNG + bytes([n]) for n in range(3)]


def test_several_processes_write_the_same_bytes(toy: Path) -> None:
    """As one does."""
    files = []
    for workers in (1, 2):
        ran(toy, "id", workers, f"run-{workers}")
        files.append({p.name: p.read_bytes() for p in (toy / "out" / "NEW").iterdir()})
    assert files[0] == files[1]


def test_an_id_of_two_blocks_fails_its_later_record(toy: Path) -> None:
    """The run goes on; the dataset has the first."""
    summary, data = ran(toy, "messages[1].text")
    assert (summary.counts.written, summary.counts.failed) == (1, 8)
    assert dict(summary.counts.failures) == {"sink/duplicate-id": 8}
    assert [*data] == ["A"]


def test_a_conversion_names_the_place_of_what_it_refuses(toy: Path) -> None:
    """And does the rest."""
    rows = [
        {
            "id": id,
            "messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
        }
        for id in ("a", "b", "a")
    ]
    (toy / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = dataset.convert("rows.jsonl", "out/B", to="mimic-it")
    assert (done.written, done.refused) == (2, 1)
    assert isinstance(done.failures, Path)
    refused = json.loads(done.failures.read_text())
    assert (refused["place"], refused["kind"]) == ("0/rows.jsonl#2", "duplicate-id")
    assert refused["message"] == "an earlier row has the id a as well"
