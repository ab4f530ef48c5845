"""A run as it goes, on stderr: a few calm lines in a terminal, elsewhere a plain line at times."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mirage.cli.text import LABEL, duration, rate, say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mirage.report import Progress

REFRESHES_PER_SECOND = 5
SECONDS_PER_LINE = 10.0
BAR = 40
COLOR = "cyan"
ENDS = ("starting", "running", "done", "stopped", "interrupted")


@contextlib.contextmanager
def showing(progress: Progress, *, quiet: bool) -> Iterator[None]:
    """Show a run's progress for as long as the block lasts."""
    if quiet:
        yield
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(
            console=Console(stderr=True),
            get_renderable=lambda: picture(progress),
            refresh_per_second=REFRESHES_PER_SECOND,
            redirect_stdout=False,
            transient=True,
        ):
            yield
    else:
        with lines(progress):
            yield


@contextlib.contextmanager
def counting() -> Iterator[Callable[[int], None]]:
    """Count rows on a line of the terminal, while the block lasts; elsewhere say nothing."""
    if not sys.stderr.isatty():
        yield lambda rows: None
        return

    def count(rows: int) -> None:
        sys.stderr.write(f"\r  {rows:,} rows")
        sys.stderr.flush()

    try:
        yield count
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def picture(progress: Progress) -> RenderableType:
    """The whole display: a bar, and four lines below it."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done, total = progress.settled, progress.total
    bar = Table.grid(padding=(0, 2, 0, 0))
    share = f"{done / total:.0%}" if total else ""
    bar.add_row(
        ProgressBar(
            total,
            done,
            width=BAR,
            pulse=total is None,
            complete_style=COLOR,
            finished_style=COLOR,
            pulse_style=COLOR,
        ),
        Text(share),
        Text(left(progress), style="dim"),
    )
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", width=LABEL)
    facts.add_column(overflow="fold")
    for label, text in described(progress):
        facts.add_row(label, Text(text, style="yellow" if label == "failed" else ""))
    lines = Group(Text(progress.phase, style="bold"), bar, facts)
    return Padding(lines, (0, 0, 0, 2), expand=False)  # at full width, the echo of ^C would wrap


def described(progress: Progress) -> list[tuple[str, str]]:
    """The facts of a run under way, each under its label."""
    counts, usage = progress.counts, progress.usage
    of = f"{progress.total:,}" if progress.total is not None else f"{progress.surveyed:,} or more"
    records = f"{progress.settled:,} of {of}, {rate(progress.rate)}"
    if progress.resumed:
        records += f" ({progress.resumed:,} were done before)"
    calls = f"{progress.in_flight:,} in flight of {progress.window:,}, {usage.calls:,} paid"
    if usage.recalled:
        calls += f", {usage.recalled:,} recalled"
    tokens = f"{usage.prompt_tokens:,} in, {usage.completion_tokens:,} out"
    shown = [("records", records), ("calls", calls), ("tokens", tokens)]
    if counts.dropped:
        shown.append(("dropped", f"{counts.dropped:,}"))
    if counts.failed:
        often = sorted(counts.failures.items(), key=lambda item: -item[1])[:4]
        causes = ", ".join(f"{n:,} {cause}" for cause, n in often)
        alone = len(often) == 1 and often[0][1] == counts.failed
        sums = f"{counts.failed:,}" + f": {causes}" * bool(causes)  # those of before have no cause
        shown.append(("failed", causes if alone else sums))
    return shown


def left(progress: Progress) -> str:
    seconds = progress.seconds_left
    return "" if seconds is None or progress.phase != "running" else f"{duration(seconds)} left"


@contextlib.contextmanager
def lines(progress: Progress) -> Iterator[None]:
    """A line every ten seconds, and one when the run begins to end."""
    over = threading.Event()

    def watch() -> None:
        due, phase = time.monotonic() + SECONDS_PER_LINE, progress.phase
        while not over.wait(0.25):
            changed = progress.phase != phase and progress.phase not in ENDS
            phase = progress.phase
            if changed or time.monotonic() >= due:
                due = time.monotonic() + SECONDS_PER_LINE
                say(line(progress), err=True)

    thread = threading.Thread(target=watch, name="display", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def line(progress: Progress) -> str:
    facts = "; ".join(f"{label} {text}" for label, text in described(progress))
    remaining = f"; {left(progress)}" if left(progress) else ""
    return f"{progress.phase}: {facts}{remaining}"
