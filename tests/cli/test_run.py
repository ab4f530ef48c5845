"""`mirage run` and `mirage retry`, from start to exit code."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

from mirage.cli.run import tell
from mirage.engines.mock import Behaviour, running
from mirage.report import Counts, Progress, Usage
from mirage.scale.ranks import PARENT
from mirage.session import Summary
from mirage.work.lock import Lock

from .commands import document, mirage, process, project, start

SLOW = "{backend: fake, max_in_flight: 2, args: {latency: 0.1}}"
FAILING = "{backend: fake, args: {fail: 0.3}}"


def answers(folder: Path) -> list[str]:
    return [json.loads(line)["question"] for line in (folder / "out.jsonl").open()]


def sums(text: str) -> list[int]:
    """The numbers of the line that adds up."""
    line = next(line for line in text.splitlines() if "read" in line and "=" in line)
    return [int(word.replace(",", "")) for word in line.replace(";", "").split() if word.isdigit()]


def test_a_run_makes_the_dataset_and_adds_up(tmp_path: Path) -> None:
    """Exit code 0, a summary whose counts add up, and where the dataset is."""
    result = mirage("run", project(tmp_path))
    assert result.exit_code == 0
    assert sums(result.stdout) == [20, 20, 0, 0]
    assert "out.jsonl" in result.stdout
    assert "next:" not in result.stdout
    assert answers(tmp_path) == [f"question {n}" for n in range(20)]


def test_a_second_run_pays_for_nothing(tmp_path: Path) -> None:
    """What is done is not done again, and the summary says so."""
    config = project(tmp_path)
    mirage("run", config)
    result = mirage("run", config, "--json")
    assert document(result.stdout)["usage"]["calls"] == 0
    assert document(result.stdout)["total"]["calls"] == 20


def test_flags_take_the_place_of_keys(tmp_path: Path) -> None:
    """Source, sink, engine, limit and run folder, relative to where the command is given."""
    config = project(tmp_path, engine="{base_url: http://127.0.0.1:9/v1, model_path: none}")
    config.write_text(config.read_text().replace("rows.jsonl", "nowhere.jsonl"))
    flags: list[str | Path] = [
        "--source",
        tmp_path / "rows.jsonl",
        "--sink",
        tmp_path / "other" / "x.jsonl",
    ]
    flags += ["--engine", "fake", "--limit", "3", "--run-dir", tmp_path / "elsewhere"]
    result = mirage("run", config, *flags)
    assert sums(result.stdout) == [3, 3, 0, 0]
    assert len((tmp_path / "other" / "x.jsonl").read_text().splitlines()) == 3
    assert (tmp_path / "elsewhere" / "manifest.json").exists()


def test_failed_records_are_exit_code_3_with_their_causes(tmp_path: Path) -> None:
    """The summary says how many, why, with an example, and what to do next."""
    result = mirage("run", project(tmp_path, engine=FAILING))
    read, written, dropped, failed = sums(result.stdout)
    assert result.exit_code == 3
    assert read == written + dropped + failed == 20
    assert failed > 0
    assert f"{failed} engine/fake: the fake engine was told to fail here" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("next: mirage retry ")


def test_a_run_without_a_row_says_so(tmp_path: Path) -> None:
    """Where every record failed, no dataset is shown, in words or in JSON."""
    config = project(tmp_path, engine="{backend: fake, args: {fail: 1.0}}")
    told = mirage("run", config)
    assert told.exit_code == 3
    assert "nothing was written to" in told.stdout
    assert not (tmp_path / "out.jsonl").exists()
    assert document(mirage("run", config, "--json").stdout)["published"] is False
    assert "nothing was written to" in mirage("merge", config).stdout
    assert "dataset" not in mirage("status", tmp_path / "run").stdout


def test_dropped_records_are_counted_by_filter(tmp_path: Path) -> None:
    """A filter's name stands beside the number that it dropped, and rows add up as well."""
    config = project(tmp_path, more="  - {name: even, type: filter, keep: n % 2 == 0}\n")
    result = mirage("run", config)
    assert sums(result.stdout) == [20, 10, 10, 0]
    assert "10 even" in result.stdout


def test_the_rows_of_lists_add_up_too(tmp_path: Path) -> None:
    """With `many`, the summary has a second sum: of rows."""
    config = project(tmp_path, rows=3)
    many = "  - {name: pairs, output_type: JSON, many: true, prompt: '{q}', output_schema: [x]}\n"
    text = config.read_text().replace("  - {name: a, prompt: 'say {q}'}\n", many)
    config.write_text(text.replace("answer: '{a}'", "x: '{x}'"))
    found = document(mirage("run", config, "--json").stdout)
    made = found["counts"]["rows_made"]
    told = mirage("run", config).stdout
    assert made == len((tmp_path / "out.jsonl").read_text().splitlines())
    assert (f"made {made} = written {made} + dropped 0 + failed 0" in told) == (made != 3)


def test_a_drop_of_rows_says_so(tmp_path: Path) -> None:
    """A filter after `many` drops rows, not records."""
    config = project(tmp_path, rows=3)
    many = "  - {name: pairs, output_type: JSON, many: true, prompt: '{q}', output_schema: [x]}\n"
    many += "  - {name: none, type: filter, keep: x == 1}\n"
    text = config.read_text().replace("  - {name: a, prompt: 'say {q}'}\n", many)
    config.write_text(text.replace("answer: '{a}'", "x: '{x}'"))
    told = mirage("run", config).stdout
    made = int(told.split("made ")[1].split()[0])
    assert f"{made} none (rows)" in told


def test_json_is_the_only_thing_on_stdout(tmp_path: Path) -> None:
    """One document with counts, state, exit code and the next step, whatever goes wrong."""
    config = project(tmp_path, engine=FAILING)
    code, out, _ = process("run", config, "--json")
    found = document(out)
    assert (code, found["exit_code"], found["state"]) == (3, 3, "done")
    assert found["counts"]["failures"] == {"engine/fake": found["counts"]["failed"]}
    assert found["next"].startswith("mirage retry")
    code, out, err = process("run", tmp_path / "none.yaml", "--json")
    assert (code, err) == (2, "")
    assert document(out)["mistakes"][0]["message"].startswith("cannot be read")


def test_what_a_step_prints_stays_off_stdout(tmp_path: Path) -> None:
    """A Python step may print: the JSON document stays whole, and stderr shows it."""
    (tmp_path / "steps.py").write_text("def loud(q):\n    print('heard', q)\n    return q\n")
    step = "  - {name: b, type: python, file: steps.py, function: loud, args: {q: '{q}'}}\n"
    code, out, err = process("run", project(tmp_path, rows=2, more=step), "--json")
    assert (code, document(out)["counts"]["written"]) == (0, 2)
    assert "heard question 1" in err


def test_an_endpoint_that_never_answers_stops_the_run(tmp_path: Path) -> None:
    """No record fails for a server that was not started: all are owed still."""
    config = project(
        tmp_path, engine="{base_url: 'http://127.0.0.1:9/v1', model_path: m, retries: 0}"
    )
    result = mirage("run", config, "--json")
    found = document(result.stdout)
    assert (result.exit_code, found["state"], found["counts"]["failed"]) == (4, "stopped", 0)
    assert "no endpoint has answered yet: Failed to connect to 127.0.0.1:9" in found["reason"]
    assert sums(mirage("run", config, "--engine", "fake").stdout) == [20, 20, 0, 0]


def test_what_a_flag_got_wrong_has_no_line(tmp_path: Path) -> None:
    """The file is not to blame: no position is shown for the sink or the engine of a flag."""
    config = project(tmp_path)
    said = mirage("run", config, "--sink", tmp_path / "x.jsnl").stderr
    assert said.startswith(f"sink.path: the format of '{tmp_path}/x.jsnl' cannot be told")
    said = mirage("run", config, "--engine", "no.gguf").stderr
    assert said.startswith("engine.model_path: no such file")


def test_a_retry_of_what_never_ran_is_a_mistake(tmp_path: Path) -> None:
    """Nothing is run that was not asked for."""
    result = mirage("retry", project(tmp_path))
    assert (result.exit_code, "has not run yet" in result.stderr) == (2, True)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_retry_is_proposed_only_where_it_can_help(tmp_path: Path) -> None:
    """A malformed row stays malformed: the next step is to look at it."""
    config = project(tmp_path)
    with (tmp_path / "rows.jsonl").open("a") as rows:
        rows.write("{torn\n")
    told = mirage("run", config).stdout.splitlines()
    assert told[-1] == f"next: mirage status {tmp_path / 'run'} --failures 10"


def test_quiet_is_silent_where_all_is_well(tmp_path: Path) -> None:
    """Nothing is printed for a clean run; trouble still is."""
    (tmp_path / "bad").mkdir()
    assert mirage("run", project(tmp_path), "--quiet").output == ""
    assert "failed" in mirage("run", project(tmp_path / "bad", engine=FAILING), "-q").stdout


def test_mistakes_are_told_all_at_once_with_their_places(tmp_path: Path) -> None:
    """file:line:column: path: message, exit code 2, no traceback."""
    config = project(tmp_path)
    config.write_text(config.read_text().replace("{q}", "{qq}").replace("dir:", "dri:"))
    code, out, err = process("run", config, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("ask.yaml:")
    assert "Traceback" not in err
    assert "did you mean 'dir'?" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_drains_and_a_second_one_finishes(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Exit code 130 with a hint; what was paid for is not paid for again."""
    config = project(tmp_path, rows=60, engine=SLOW)
    first = start("run", config, "--json")
    calls = tmp_path / "run" / "progress.json"
    while not calls.exists() or json.loads(calls.read_bytes())["usage"]["calls"] < 4:
        assert first.poll() is None
        time.sleep(0.05)
    first.send_signal(number)
    out, err = first.communicate(timeout=30)
    found = document(out)
    assert (first.returncode, found["state"]) == (130, "interrupted"), err
    assert found["next"] == f"mirage run {config}"
    assert 4 <= found["usage"]["calls"] < 60
    config.write_text(config.read_text().replace("latency: 0.1", "latency: 0"))
    second = document(mirage("run", config, "--json").stdout)
    assert second["exit_code"] == 0
    assert second["usage"]["calls"] == 60 - found["usage"]["calls"]
    assert second["total"]["calls"] == 60


@pytest.mark.parametrize("told", [True, False])
def test_who_was_started_by_a_run_leaves_the_telling_to_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    told: bool,
) -> None:
    """Ctrl-C ends both, and is one event. The rank of a launcher may be on another machine."""
    monkeypatch.delenv(PARENT, raising=False)
    if not told:
        monkeypatch.setenv(PARENT, "7")
    usage = Usage()
    summary = Summary("interrupted", Counts(), usage, usage, 1.0, tmp_path, tmp_path, rank=1)
    assert tell(summary, Progress(), "", False, False) == 130
    assert ("rank 1 interrupted" in capsys.readouterr().err) == told


def test_a_run_that_another_process_owns_is_exit_code_5(tmp_path: Path) -> None:
    """The second process says who owns it, and leaves its note alone."""
    config = project(tmp_path)
    with Lock(tmp_path / "run"):
        code, out, err = process("run", config, "--limit", "3")
        assert (code, out) == (5, "")
        assert "is in use by process" in err
        assert not (tmp_path / "run" / "run.json").exists()


def test_a_refused_key_stops_the_run_and_is_never_told(tmp_path: Path) -> None:
    """Exit code 4, with the name of the variable and not its value."""
    with running(Behaviour(api_key="right-key-1234")) as server:
        where = f"base_url: '{server.base_url}', model_path: m, api_key_env: THE_KEY"
        config = project(tmp_path, engine=f"{{{where}}}")
        code, out, err = process("run", config, THE_KEY="wrong-key-5678")
        assert code == 4
        assert re.match(r"stopped after [0-9.]+ s: the key in THE_KEY was refused", out)
        assert f"next: mirage run {config}" in out.replace("\n", " ").replace("  ", " ")
        assert "5678" not in out + err
        kept = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
        assert not any(b"5678" in path.read_bytes() for path in kept)
        code, out, _ = process("run", config, THE_KEY="right-key-1234")
        assert code == 0


def test_too_many_failures_stop_the_run(tmp_path: Path) -> None:
    """`max_failures` is exit code 4, and the reason is told."""
    config = project(tmp_path, engine="{backend: fake, max_in_flight: 1, args: {fail: 1}}")
    config.write_text(config.read_text().replace("dir: run", "dir: run, max_failures: 2"))
    result = mirage("run", config)
    assert result.exit_code == 4
    assert "`max_failures` is 2" in result.stdout


def test_a_changed_source_is_told_and_can_be_accepted(tmp_path: Path) -> None:
    """Exit code 2 and the flag that goes on; the hint of a later run does not repeat it."""
    config = project(tmp_path)
    mirage("run", config)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(rows.read_text().replace("question 7", "another question"))
    refused = mirage("run", config)
    assert refused.exit_code == 2
    assert "--accept-changes" in refused.stderr
    accepted = document(mirage("run", config, "--accept-changes", "--json").stdout)
    assert (accepted["exit_code"], accepted["usage"]["calls"]) == (0, 1)


def test_retry_needs_nothing_but_the_folder(tmp_path: Path) -> None:
    """From another folder, with the flags of the first run, it pays for the failed records only."""
    config = project(tmp_path, engine="{base_url: http://127.0.0.1:9/v1, model_path: none}")
    with running(Behaviour(share_500=1.0)) as server:
        config.write_text(config.read_text().replace("model_path", "retries: 0, model_path"))
        engine = f"m@{server.base_url}"
        flags: list[str | Path] = ["--engine", engine, "--sink", tmp_path / "there.jsonl"]
        assert mirage("run", config, *flags).exit_code == 3
        server.behaviour = Behaviour()
        (tmp_path / "far").mkdir()
        code, out, err = process("retry", tmp_path / "run", "--json", cwd=tmp_path / "far")
        assert code == 0, out + err
    assert document(out)["usage"]["calls"] == 20
    assert len((tmp_path / "there.jsonl").read_text().splitlines()) == 20


def test_retry_takes_a_configuration_too(tmp_path: Path) -> None:
    """The run's folder follows from it, and the flags from there."""
    config = project(tmp_path, engine=FAILING)
    assert mirage("run", config, "--limit", "15").exit_code == 3
    assert sums(mirage("retry", config).stdout)[0] == 15


@pytest.mark.parametrize("word", ["engine", "FAKE", "Engine/fake", "parse"])
def test_retry_chooses_by_class(tmp_path: Path, word: str) -> None:
    """By boundary, kind or both, whatever the case; a word that names no failure is an error."""
    config = project(tmp_path, engine=FAILING)
    mirage("run", config)
    config.write_text(config.read_text().replace("fake, args", "fake, timeout: 9, args"))
    result = mirage("retry", tmp_path / "run", "--class", word)
    assert result.exit_code == (2 if word == "parse" else 3)
    if word == "parse":
        assert "there are: engine/fake" in " ".join(result.stderr.split())


def test_retry_of_something_else_is_a_mistake(tmp_path: Path) -> None:
    """A folder that is no run's: exit code 2, and why."""
    result = mirage("retry", tmp_path)
    assert result.exit_code == 2
    assert "not the folder of a run" in result.stderr


@pytest.mark.parametrize("other", [("--workers", "2"), ("--ray",)])
def test_who_joins_starts_no_others(tmp_path: Path, other: tuple[str, ...]) -> None:
    """What would be ignored is a mistake."""
    result = mirage("run", project(tmp_path), "--join", "2", *other)
    assert result.exit_code == 2
    assert "neither --workers nor --ray" in result.stderr
