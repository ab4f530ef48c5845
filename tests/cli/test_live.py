"""The progress of a run: for a terminal, and in lines."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from mirage.cli import live
from mirage.report import Progress, Tally


def under_way() -> Progress:
    progress = Progress(total=200, surveyed=200, in_flight=7, window=8, phase="running")
    progress.started = time.time() - 10
    for _ in range(98):
        progress.counts.count("written")
    for _ in range(2):
        progress.counts.count("failed")
        progress.explain([{"boundary": "parse", "kind": "schema", "message": "no"}], by_row=False)
    return progress


def test_the_display_says_how_far_it_is_and_what_failed() -> None:
    """Share, rate, time left, calls under way, failures by cause; in 60 columns."""
    out = io.StringIO()
    Console(file=out, width=60).print(live.picture(under_way()))
    told = out.getvalue()
    for said in ("50%", "100 of 200", "10.0 records/s", "10 s left", "7 in flight of 8"):
        assert said in told
    assert "2 parse/schema" in told
    assert max(map(len, told.splitlines())) < 60  # there is room for the echo of ^C


def test_failures_of_before_are_counted_without_a_cause() -> None:
    """A run that goes on knows how many records have failed, and why those of now have."""
    progress = Progress(total=200, phase="running")
    progress.counts.failed = 3
    assert dict(live.described(progress))["failed"] == "3"
    progress.counts.count("failed")
    progress.explain([{"boundary": "parse", "kind": "json", "message": "no"}], by_row=False)
    assert dict(live.described(progress))["failed"] == "4: 1 parse/json"


def test_the_display_bears_a_run_that_knows_nothing_yet() -> None:
    """Neither total nor rate nor window."""
    out = io.StringIO()
    Console(file=out, width=60).print(live.picture(Progress()))
    assert "0 of 0 or more" in out.getvalue()


def test_markup_in_a_cause_stays_text() -> None:
    """What looks like the terminal library's markup is not taken for it."""
    progress = under_way()
    progress.counts.failures = Tally({"step/[bold]x[/bold]": 2})
    out = io.StringIO()
    Console(file=out, width=80).print(live.picture(progress))
    assert "2 step/[bold]x[/bold]" in out.getvalue()


def test_elsewhere_lines_come_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr, one line at a time; none with quiet."""
    monkeypatch.setattr(live, "SECONDS_PER_LINE", 0.0)
    with live.showing(under_way(), quiet=False):
        time.sleep(0.6)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("running: records 100 of 200")
    with live.showing(under_way(), quiet=True):
        time.sleep(0.3)
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rows_are_counted_on_a_line_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal alone, and also where the block ends in an error."""
    for stream, told in ((Terminal(), "\r  1,000 rows\r\x1b[K"), (io.StringIO(), "")):
        monkeypatch.setattr("sys.stderr", stream)
        with pytest.raises(KeyError), live.counting() as progress:
            progress(1_000)
            raise KeyError
        assert stream.getvalue() == told
