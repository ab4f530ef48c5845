"""Words, numbers and layout."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from mirage.cli import text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.3, "12 s"), (59.7, "1:00 min"), (7389, "2:03:09 h")],
)
def test_durations(seconds: float, told: str) -> None:
    """Tenths below ten seconds, then whole seconds, minutes, hours."""
    assert text.duration(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (999, "999 B"), (12_345, "12.3 KB"), (3_000_000, "3.0 MB")]
)
def test_sizes(count: int, told: str) -> None:
    """Bytes below a thousand, then one digit after the point."""
    assert text.size(count) == told


def test_control_characters_are_made_visible() -> None:
    """Escapes, carriage returns and direction marks; line breaks and tabs stay."""
    assert text.clean("a\x1b[2J\rb\u202ec\n\td\r\n") == "a\\x1b[2J\\rb\\u202ec\n\td\n"


@pytest.mark.parametrize("user", ["me:pw", "me:p@w"])
def test_passwords_in_addresses_are_left_out_of_commands(user: str) -> None:
    """A hint can be copied, but shows no secret."""
    told = text.command("mirage", "run", "my file.yaml", "--engine", f"m@http://{user}@host/v1")
    assert told == "mirage run 'my file.yaml' --engine m@http://***@host/v1"


def test_fields_wrap_beside_their_label() -> None:
    """Long lines are wrapped into the column; blank lines stay, and so do long words."""
    told = click.unstyle(text.field("label", "word " * 30 + "\n\n" + "x" * 200)).splitlines()
    assert told[0].startswith("  label     word")
    assert all(line.startswith(" " * 12) for line in told[1:] if line)
    assert "" in told
    assert told[-1] == " " * 12 + "x" * 200
    assert max(map(len, told[:-1])) <= text.width()


def test_paths_are_short_where_they_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative below the current folder, absolute elsewhere, and at the root."""
    monkeypatch.chdir(tmp_path)
    assert text.near(tmp_path / "a" / "b") == "a/b"
    assert text.near("/elsewhere") == "/elsewhere"
    monkeypatch.chdir("/")
    assert text.near(tmp_path) == str(tmp_path)


@pytest.mark.parametrize(("rows", "told"), [(0, ""), (3, " (rows)"), (1, " (1 row)")])
def test_causes_say_what_they_count(rows: int, told: str) -> None:
    """Nothing is added where it is records, as everywhere without `many`."""
    assert text.rows_of(3, rows) == told


def test_a_retry_helps_what_may_pass() -> None:
    """A model may answer better the next time; a row, a template and a column are what they are."""
    assert text.may_pass(["source/malformed", "parse/schema"])
    assert not text.may_pass(["source/malformed", "select/missing", "template/null", "sink/column"])
    assert not text.may_pass([])
