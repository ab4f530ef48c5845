"""Exit codes, messages and JSON: what every command has in common."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mirage import __version__
from mirage.cli import app as module
from mirage.cli.app import app, exit_code
from mirage.errors import (
    AuthenticationError,
    ConfigError,
    LockedError,
    Mistake,
    RunError,
    SourceChangedError,
)

from .commands import document, mirage, process, project


@pytest.mark.parametrize("name", [*app.commands])
def test_every_command_explains_itself_with_an_example(name: str) -> None:
    """--help names the command, says one sentence, and shows a line to copy."""
    told = mirage(name, "--help").stdout
    assert f"Usage: cli {name}" in told or f"Usage: mirage {name}" in told or name in told
    assert f"mirage {name}" in told.split("Example:")[1]
    assert max(map(len, told.splitlines())) <= 80


def test_every_command_has_a_line_of_its_own() -> None:
    """In the list of commands, none of them cut."""
    assert "..." not in mirage("--help").stdout.partition("Commands:")[2]


def test_the_version_is_told() -> None:
    """--version prints the version of the package."""
    assert mirage("--version").stdout.split() == ["mirage,", "version", __version__]


def test_help_loads_nothing_heavy() -> None:
    """`mirage --help` touches neither tables nor images, models, YAML nor the terminal library."""
    heavy = ["pyarrow", "PIL", "pydantic", "ruamel", "rich", "orjson", "jinja2"]
    ours = ["mirage.config", "mirage.engines", "mirage.api", "mirage.session"]
    code = (
        "import sys\nfrom mirage.cli.app import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy + ours} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_an_unknown_command_is_a_usage_error_with_a_hint() -> None:
    """Exit code 2, on stderr."""
    result = mirage("rn")
    assert result.exit_code == 2
    assert "rn" in result.stderr
    assert result.stdout == ""


def test_usage_errors_are_json_where_json_is_asked_for(tmp_path: Path) -> None:
    """A bad flag ends with 2 and one document on stdout."""
    result = mirage("run", project(tmp_path), "--limit", "0", "--json")
    assert result.exit_code == document(result.stdout)["exit_code"] == 2
    assert "--limit" in document(result.stdout)["error"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError([Mistake("a", "b")]), 2),
        (SourceChangedError("changed"), 2),
        (AuthenticationError("refused"), 4),
        (LockedError("in use"), 5),
        (RunError("broken"), 1),
        (PermissionError(13, "no"), 1),
    ],
)
def test_errors_have_the_exit_codes_of_the_dialect(error: Exception, code: int) -> None:
    """Each kind of error has its own."""
    assert exit_code(error) == code


def test_a_folder_in_place_of_a_configuration_is_a_mistake(tmp_path: Path) -> None:
    """No traceback, exit code 2, and the reason."""
    result = mirage("run", tmp_path)
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


def test_an_error_of_the_machine_is_one_line(tmp_path: Path) -> None:
    """A run folder that cannot be made, because a file is in the way: exit code 1."""
    config = project(tmp_path)
    (tmp_path / "run").write_text("in the way")
    result = mirage("run", config)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_an_internal_error_says_how_to_see_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the place of the fault, or a document; the traceback is for those who ask."""
    try:
        raise KeyError("gone")
    except KeyError as exc:
        error = exc
    monkeypatch.setattr(sys, "argv", ["mirage", "run"])
    module.unforeseen(KeyError, error, error.__traceback__)
    told = capsys.readouterr()
    assert told.err.startswith("error: internal error: KeyError: 'gone' (test_app.py:")
    assert "MIRAGE_DEBUG=1" in told.err
    monkeypatch.setattr(sys, "argv", ["mirage", "run", "--json"])
    module.unforeseen(KeyError, error, error.__traceback__)
    assert document(capsys.readouterr().out)["exit_code"] == 1


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`mirage schema | head -1` ends quietly, and with the command's own exit code."""
    program = f"{sys.executable} -c 'from mirage.cli import main; main()' schema"
    script = f"set -o pipefail; {program} | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


def test_tracebacks_are_shown_on_request(tmp_path: Path) -> None:
    """MIRAGE_DEBUG=1 adds the traceback and changes no exit code."""
    code, _, err = process("check", tmp_path / "none.yaml", MIRAGE_DEBUG="1")
    assert code == 2
    assert "Traceback" in err
    code, _, err = process("check", tmp_path / "none.yaml", MIRAGE_DEBUG="")
    assert code == 2
    assert "Traceback" not in err
