"""A run that writes for LLaMA-Factory: the description is checked first, and appears last."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mirage
from mirage import api, dataset
from mirage.errors import ConfigError, RunError
from mirage.formats import shape
from mirage.formats.dataset_info import Described
from mirage.sinks.described import DescribedSink, kinds
from mirage.sinks.jsonl import JsonlSink

CONFIG: dict[str, Any] = {
    "engine": {"backend": "fake"},
    "inputs": [{"name": "q", "key": "q"}],
    "outputs": [{"name": "a", "prompt": "Answer: {q}"}],
    "output_schema": {
        "messages": [{"role": "user", "content": "{q}"}, {"role": "assistant", "content": "{a}"}]
    },
}


def config(folder: Path) -> dict[str, Any]:
    (folder / "rows.jsonl").write_text('{"q": "What?"}\n{"q": "Why?"}\n')
    sink = {"path": str(folder / "out" / "train.json"), "format": "sharegpt"}
    source = {"path": str(folder / "rows.jsonl")}
    return {**CONFIG, "source": source, "sink": sink, "run": {"dir": str(folder / "run")}}


def test_a_run_leaves_a_description(tmp_path: Path) -> None:
    summary = mirage.run(config(tmp_path))
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text("utf-8"))
    assert summary.counts.written == 2
    assert info["train"]["file_name"] == "train.json"


def test_check_finds_a_description_that_is_torn(tmp_path: Path) -> None:
    """With the place in the configuration, before any call."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset_info.json").write_text('{"train": ')
    with pytest.raises(ConfigError, match=r"sink\.path: .*torn"):
        api.check(config(tmp_path))


def test_rows_are_not_named_as_their_description(tmp_path: Path) -> None:
    """They would be lost to it."""
    sink = {"path": str(tmp_path / "dataset_info.json"), "format": "sharegpt"}
    with pytest.raises(ConfigError, match="choose another name"):
        api.check({**config(tmp_path), "sink": sink})


def test_an_entry_that_would_be_needed_is_another_s(tmp_path: Path) -> None:
    """Then nothing can be added under that name."""
    taken = {"train": {"file_name": "a.csv"}, "train.json": {"file_name": "b.csv"}}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset_info.json").write_text(json.dumps(taken))
    with pytest.raises(ConfigError, match=r"'train\.json' of other data"):
        api.check(config(tmp_path))


def test_a_key_within_a_row_or_a_text_is_no_rejected_answer(tmp_path: Path) -> None:
    """Only a row's own column is one."""
    form = shape("sharegpt")
    assert isinstance(form, Described)
    path = tmp_path / "train.json"
    sink = DescribedSink(JsonlSink(path, folder=False, array=True), "rejected", form, path)
    part = tmp_path / "part.json"
    rows: list[dict[str, Any]] = [{"text": '{"rejected":1}'}, {"meta": {"rejected": 1}}]
    sink.write(part, rows)
    assert [*kinds([part], "rejected")] == [False]
    sink.write(part, [*rows, {"rejected": {}}])
    assert [*kinds([part], "rejected")] == [False, True]


PUBLISHING = """
import sys, time
from mirage import dataset
from mirage.sinks.jsonl import JsonlSink

def slowly(*words, publish=JsonlSink.publish):
    publish(*words)
    time.sleep(0.1)

JsonlSink.publish = slowly
who = sys.argv[1]
print("ready", flush=True)
sys.stdin.readline()
for n in range(3):
    dataset.convert("in.json", f"out/{who}-{n}.json", to="alpaca", format="messages")
"""


def test_datasets_that_are_published_side_by_side_are_all_described(tmp_path: Path) -> None:
    """By several processes into one folder: none writes over the entry of another."""
    said = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "b"}]
    (tmp_path / "in.json").write_text(json.dumps([{"messages": said}]))
    command = [sys.executable, "-c", PUBLISHING]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([*command, who], cwd=tmp_path, stdin=pipe, stdout=pipe) for who in "abc"
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text("utf-8"))
    assert {*info} == {f"{who}-{n}" for who in "abc" for n in range(3)}


def test_rows_of_two_kinds_are_refused_for_ms_swift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loader would drop one of them; nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    said = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "b"}]
    rows = [{"messages": said}, {"messages": said, "rejected": "a"}]
    for number, some in enumerate((rows[:1], rows[1:])):
        Path("in.json").write_text(json.dumps(some))
        done = dataset.convert("in.json", f"{number}.jsonl", to="ms-swift", format="messages")
        assert done.written == 1
    Path("in.json").write_text(json.dumps(rows))
    with pytest.raises(RunError, match="files of their own"):
        dataset.convert("in.json", "out/all.jsonl", to="ms-swift", format="messages")
    assert not [*Path("out").iterdir()]
