"""What is called anew after a change: that which depends on it, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from media.site import Site, serving
from scale.servers import stand_ins

from mirage.engines.mock import Behaviour, MockServer, running
from mirage.errors import SourceChangedError

from .engine import Scripted
from .trial import SCHEMA, Trial, questions

CHAIN: list[dict[str, Any]] = [
    {"name": "a", "prompt": "First: {q}"},
    {"name": "b", "prompt": "Second: {a}"},
    {"name": "c", "prompt": "Apart: {q}"},
]


@pytest.fixture
def server() -> Iterator[MockServer]:
    with running(Behaviour()) as server:
        yield server


@pytest.fixture
def trial(tmp_path: Path, server: MockServer) -> Trial:
    """Thirty questions in blocks of ten."""
    return Trial(tmp_path, questions(30), server.base_url, run={"block_rows": 10})


def calls(server: MockServer, trial: Trial, **options: Any) -> int:
    """How many calls a run of the trial makes."""
    before = server.stats.calls
    trial.run(**options)
    return server.stats.calls - before


def test_nothing_changed(server: MockServer, trial: Trial) -> None:
    """A second run over the same thing calls nobody and leaves the dataset as it is."""
    assert calls(server, trial) == 30
    before = trial.target.stat()
    assert calls(server, trial) == 0
    assert trial.target.stat().st_mtime_ns == before.st_mtime_ns


def test_one_prompt_of_several(server: MockServer, trial: Trial) -> None:
    """A changed prompt is asked anew with all that depends on it; what does not, is kept."""
    trial.set(outputs=CHAIN, output_schema={"a": "{a}", "b": "{b}", "c": "{c}"})
    assert calls(server, trial) == 90
    trial.set(outputs=[CHAIN[0], {**CHAIN[1], "prompt": "Thirdly: {a}"}, CHAIN[2]])
    assert calls(server, trial) == 30
    trial.set(outputs=[{**CHAIN[0], "prompt": "Begin: {q}"}, *CHAIN[1:]])
    assert calls(server, trial) == 60
    trial.set(outputs=CHAIN)
    assert calls(server, trial) == 0


def test_the_sink_only(server: MockServer, trial: Trial, tmp_path: Path) -> None:
    """Another sink is filled from what is known."""
    calls(server, trial)
    rows = trial.output()
    trial.set(sink={"path": str(tmp_path / "elsewhere" / "out.jsonl")})
    assert calls(server, trial) == 0
    assert trial.output() == rows
    trial.set(sink={"path": str(tmp_path / "out.parquet")})
    assert calls(server, trial) == 0
    import pyarrow.parquet as pq

    assert pq.read_table(trial.target).to_pylist() == rows


def test_the_shape_of_a_row_only(server: MockServer, trial: Trial) -> None:
    """Another output_schema is filled from what is known."""
    calls(server, trial)
    answers = [row["answer"] for row in trial.output()]
    trial.set(output_schema={"said": "{answer}"})
    assert calls(server, trial) == 0
    assert [row["said"] for row in trial.output()] == answers


def test_sampling_and_model(server: MockServer, trial: Trial) -> None:
    """Another temperature, or another model, is another question; a timeout is not."""
    calls(server, trial)
    trial.set(engine={"timeout": 7, "max_in_flight": 3})
    assert calls(server, trial) == 0
    trial.set(engine={"sampling": {"temperature": 0.5}})
    assert calls(server, trial) == 30
    trial.set(engine={"model_path": "other"})
    assert calls(server, trial) == 30


def test_rows_appended(server: MockServer, trial: Trial) -> None:
    """Rows appended to the source are called, the others are not, and all are in the dataset."""
    calls(server, trial)
    trial.append(questions(7, start=30))
    assert calls(server, trial) == 7
    assert [row["q"] for row in trial.output()] == [row["q"] for row in questions(37)]


def test_a_row_changed(server: MockServer, trial: Trial) -> None:
    """A changed row is an error that says where; going on costs that one call."""
    calls(server, trial)
    rows = questions(30)
    rows[14] = {"q": "quite another question"}
    trial.write(rows)
    with pytest.raises(SourceChangedError, match=r"in\.jsonl: rows 11 to 20 .*--accept-changes"):
        trial.run()
    assert calls(server, trial, accept_changes=True) == 1
    assert [row["q"] for row in trial.output()] == [row["q"] for row in rows]
    assert calls(server, trial) == 0


def stored_table(path: Path, numbers: Iterable[int]) -> None:
    """Questions with something long beside them that no output needs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    asked = [{"q": f"question {n}", "long": f"{n}" * 1_000} for n in numbers]
    pq.write_table(pa.Table.from_pylist(asked), path)


def test_of_an_untouched_table_a_part_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To write the rows, the columns that stand in them are enough."""
    import pyarrow.parquet as pq

    stored_table(path := tmp_path / "in.parquet", range(20))
    trial = Trial(tmp_path, (), Scripted(), source={"path": str(path)})
    whole, read = pq.ParquetFile.iter_batches, list[list[str] | None]()

    def watched(file: pq.ParquetFile, *args: Any, **keys: Any) -> Any:
        read.append(keys["columns"])
        return whole(file, *args, **keys)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    trial.run()
    assert [columns for columns in read if columns is not None] == [["q"]]
    assert [row["q"] for row in trial.output()] == [f"question {n}" for n in range(20)]


def test_a_table_replaced_while_it_is_asked_about(tmp_path: Path) -> None:
    """The answers are those to other rows: nothing is written."""
    stored_table(path := tmp_path / "in.parquet", range(20))
    trial = Trial(tmp_path, (), engine := Scripted(), source={"path": str(path)})

    def replace(number: int) -> None:
        if number == 5:
            stored_table(path, range(1, 21))

    engine.on_call = replace
    with pytest.raises(SourceChangedError, match=r"in\.parquet changed"):
        trial.run()
    assert not trial.target.exists()


def test_a_row_put_in_the_middle(server: MockServer, trial: Trial) -> None:
    """After an insertion, going on calls the new row alone, and later changes are noticed again."""
    calls(server, trial)
    rows = [*questions(12), {"q": "in between"}, *questions(18, start=12)]
    trial.write(rows)
    with pytest.raises(SourceChangedError):
        trial.run()
    assert calls(server, trial, accept_changes=True) == 1
    assert [row["q"] for row in trial.output()] == [row["q"] for row in rows]
    trial.write(rows[1:])
    with pytest.raises(SourceChangedError):
        trial.run()
    usage = trial.run(accept_changes=True).usage
    assert (usage.calls, usage.recalled) == (0, 30)


def test_a_source_that_has_shrunk_or_gone(trial: Trial, tmp_path: Path) -> None:
    """Fewer rows, or another file, are changes of the source too."""
    trial.run()
    trial.write(questions(29))
    with pytest.raises(SourceChangedError, match="rows 21 to 30"):
        trial.run()
    other = tmp_path / "other.jsonl"
    other.write_bytes(trial.source.read_bytes())
    trial.set(source={"path": str(other)})
    with pytest.raises(SourceChangedError, match=r"lost in\.jsonl"):
        trial.run()


def test_a_change_after_an_interrupted_run(trial: Trial) -> None:
    """A change is noticed even where the first run ended before it had seen the whole source."""
    trial.run()
    folder = trial.job().folder
    (folder.root / "source.json").unlink()
    blocks = folder.root / "blocks.jsonl"
    blocks.write_bytes(b"".join(blocks.read_bytes().splitlines(keepends=True)[:2]))
    rows = questions(30)
    rows[3] = {"q": "QUESTION 3"}
    trial.write(rows)
    with pytest.raises(SourceChangedError, match="rows 1 to 10"):
        trial.run()


def test_a_file_touched_but_not_changed(server: MockServer, trial: Trial) -> None:
    """Only the content counts: a file with a new time is read again, and found the same."""
    calls(server, trial)
    os.utime(trial.source, ns=(1, 1))
    assert calls(server, trial) == 0


def test_rows_in_memory(server: MockServer, trial: Trial) -> None:
    """Rows that a program holds are guarded as files are."""
    from mirage import run

    config = {key: value for key, value in trial.config.items() if key not in ("source", "sink")}
    rows = questions(30)
    assert list(run(config, rows).rows())[29]["q"] == "question 29"
    assert run(config, [*rows, *questions(1, start=30)]).usage.calls == 1
    with pytest.raises(SourceChangedError):
        run(config, [*rows[:5], {"q": "another"}, *rows[6:]])
    with pytest.raises(SourceChangedError):
        run(config, rows[:20])
    assert server.stats.calls == 31


def test_a_lower_limit(server: MockServer, trial: Trial) -> None:
    """A limit below what the run has read is a change; a higher one only adds."""
    trial.set(source={"limit": 5})
    assert calls(server, trial) == 5
    trial.set(source={"limit": 12})
    assert calls(server, trial) == 7
    assert len(trial.output()) == 12
    trial.set(source={"limit": 5})
    with pytest.raises(SourceChangedError, match="limit"):
        trial.run()


def test_a_python_step_is_kept_across_a_change(trial: Trial, tmp_path: Path) -> None:
    """Results of Python steps are carried over a change of the source as completions are."""
    log = tmp_path / "log"
    (tmp_path / "steps.py").write_text(
        f"def note(q):\n    open({str(log)!r}, 'a').write(q + '\\n')\n    return q.upper()\n"
    )
    step = {
        "name": "loud", "type": "python", "function": "note",
        "file": str(tmp_path / "steps.py"), "args": {"q": "{q}"},
    }  # fmt: skip
    trial.set(outputs=[step], output_schema={"q": "{q}", "loud": "{loud}"})
    trial.run()
    trial.append(questions(1, start=30))
    trial.run()
    assert len(log.read_text().splitlines()) == 31
    rows = questions(31)
    rows[20] = {"q": "another"}
    trial.write(rows)
    trial.run(accept_changes=True)
    assert len(log.read_text().splitlines()) == 32
    assert SCHEMA.keys() != trial.output()[20].keys()
    assert trial.output()[20]["loud"] == "ANOTHER"


def test_another_dataset_in_its_place(server: MockServer, trial: Trial) -> None:
    """A dataset that was replaced, changed or deleted is published again, without a call."""
    calls(server, trial)
    before = trial.data()
    for data in (b"another run's", before[:-1], None):
        trial.target.unlink()
        if data is not None:
            trial.target.write_bytes(data)
        assert calls(server, trial) == 0
        assert trial.data() == before


@pytest.mark.parametrize("who", ["file", "slurm", "ray"])
def test_servers_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    """They are looked for anew by each run, and those that are found make no call twice."""
    trial = Trial(tmp_path, questions(10), run={"block_rows": 4})
    with running(Behaviour()) as first, running(Behaviour()) as second, serving() as dashboard:
        for server, new in ((first, 10), (second, 0), (second, 7)):
            base = f"{who}:{announced(who, server, tmp_path, dashboard, monkeypatch)}"
            trial.set(engine={"backend": "openai", "base_url": base, "model_path": "m"})
            trial.append(questions(new, start=10) if server is second else [])
            assert calls(server, trial) == new
    assert (first.stats.calls, second.stats.calls) == (10, 7)


def announced(
    who: str,
    server: MockServer,
    folder: Path,
    dashboard: Site,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Let a file, SLURM or Ray tell of a server; what stands behind the colon then."""
    port = urlsplit(server.base_url).port
    match who:
        case "file":
            (folder / "servers.txt").write_text(server.base_url)
            return str(folder / "servers.txt")
        case "slurm":
            path = stand_ins.slurm(folder / f"bin{port}", "RUNNING|127.0.0.1|None|7|7|vllm\n")
            monkeypatch.setenv("PATH", path)
            return f"vllm:{port}"
    options = {"host": "0.0.0.0", "port": port}
    proxy = ("127.0.0.1", "HEALTHY")
    told = stand_ins.told(proxy, options=options, llm=stand_ins.application())
    dashboard.set(stand_ins.APPLICATIONS, told)
    return f"{dashboard.url}/llm"
