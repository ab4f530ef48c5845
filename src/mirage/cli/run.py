"""`mirage run` and `mirage retry`: the dataset is made, and what came of it is told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirage.cli import options
from mirage.cli.live import showing
from mirage.cli.text import (
    balance,
    command,
    counted,
    duration,
    field,
    may_pass,
    near,
    rate,
    rows_of,
    say,
    say_json,
    short,
    warning,
)

if TYPE_CHECKING:
    from mirage.places import Place
    from mirage.report import Counts, Progress
    from mirage.scale.cluster import Wanted
    from mirage.session import Summary

CAUSES = 8


@click.command(
    epilog=options.example("mirage run reformat.yaml --source rows.jsonl --sink out/train.jsonl")
)
@options.configured
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1),
    help="Share the run among N processes.  [1, and a second one that a fast endpoint calls for]",
)
@click.option(
    "--join",
    metavar="N",
    type=click.IntRange(1),
    help="Share the run with about N processes that are started like this one, anywhere.",
)
@click.option(
    "--ray",
    metavar="[ADDRESS]",
    is_flag=False,
    flag_value="auto",
    help="Work on a Ray cluster; `local` starts one on this machine.",
)
@click.option(
    "--gpus-per-worker", "gpus", metavar="N", type=float, help="GPUs of each Ray worker.  [0]"
)
@click.option(
    "--accept-changes",
    is_flag=True,
    help="The source has changed: find its rows anew, and keep the completions paid for.",
)
@options.quiet
@options.as_json
def run(
    config: Path,
    *,
    accept_changes: bool,
    ray: str | None,
    gpus: float | None,
    quiet: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Make the dataset that CONFIG describes.

    Run again after an interruption, a crash or a change, it computes only what is owed.
    """
    from mirage import api
    from mirage.report import Progress

    if flags["join"] is not None and (ray or flags["workers"]):
        raise click.UsageError(
            "--join is for processes that are started by themselves: "
            "it goes with neither --workers nor --ray"
        )
    progress = Progress()
    with showing(progress, quiet=quiet or ranked()):
        summary = api.run(
            config,
            progress=progress,
            accept_changes=accept_changes,
            ray=on_ray(ray, gpus, flags),
            **flags,
        )
    return tell(summary, progress, options.again("run", config, **flags), quiet, as_json)


def on_ray(address: str | None, gpus: float | None, flags: dict[str, Any]) -> Wanted | None:
    """What `--ray` asks for; `--workers` then counts the cluster's."""
    if address is None:
        if gpus is not None:
            raise click.UsageError("--gpus-per-worker is for --ray")
        return None
    from mirage.scale.cluster import Wanted

    return Wanted(address, flags.pop("workers"), gpus or 0.0)


@click.command(epilog=options.example("mirage retry runs/reformat --class parse"))
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--class",
    "classes",
    metavar="WORD",
    multiple=True,
    help="Only these failures: a boundary, a kind, or boundary/kind. May be given several times.",
)
@options.quiet
@options.as_json
def retry(run: Path, classes: tuple[str, ...], quiet: bool, as_json: bool) -> int:
    """Try again what failed in a run.

    RUN is the run's folder, which knows how it was started, or its configuration.
    """
    from mirage import api
    from mirage.report import Progress

    check_classes(run, classes)
    progress = Progress()
    with showing(progress, quiet=quiet):
        summary = api.retry(run, classes=classes, progress=progress)
    words = [word for each in classes for word in ("--class", each)]
    return tell(summary, progress, command("mirage", "retry", run, *words), quiet, as_json)


def check_classes(run: Path, classes: tuple[str, ...]) -> None:
    """A word that names no failure of a finished run is a slip of the pen."""
    from mirage.names import suggest
    from mirage.status import status

    if not classes or run.is_file():
        return
    standing = status(run)
    if standing.state != "done":
        return
    causes = {cause.casefold() for cause in standing.counts.failures}
    known = causes | {word for cause in causes for word in cause.split("/", 1)}
    for word in classes:
        if word.casefold() not in known:
            there = ", ".join(sorted(standing.counts.failures)) or "none at all"
            message = f"no failure of {run} is called '{word}'{suggest(word, known)}"
            raise click.BadParameter(f"{message} (there are: {there})", param_hint="'--class'")


def ranked() -> bool:
    """Whether another process, rank 0, shows the progress of this one."""
    return os.environ.get("RANK", "0") != "0"


def tell(summary: Summary, progress: Progress, go_on: str, quiet: bool, as_json: bool) -> int:
    """Print what a run came to; returns its exit code."""
    from mirage.scale.ranks import PARENT
    from mirage.status import examples

    if summary.rank:  # what came of the whole, the owner tells; all of it, to whom it has started
        if summary.exit_code and PARENT not in os.environ:
            say(f"rank {summary.rank} {summary.state}: {short(summary.reason)}", err=True)
        return summary.exit_code
    found = examples(summary.folder, len(summary.counts.failures)) | progress.examples
    hint = next_step(summary, go_on)
    if as_json:
        say_json(summary.to_json() | {"examples": found, "next": hint})
        return summary.exit_code
    for each in summary.warnings:
        say(warning(each), err=True)
    if not quiet or summary.exit_code:
        for line in told(summary, progress, found):
            say(line)
        if hint:
            say(f"\nnext: {click.style(hint, bold=True)}")
    return summary.exit_code


def next_step(summary: Summary, go_on: str) -> str:
    """The command that goes on from here; empty where there is nothing left to do."""
    if summary.state != "done":
        return go_on
    if not summary.counts.failed:
        return ""
    folder = near(summary.folder)
    if may_pass(summary.counts.failures):
        return command("mirage", "retry", folder)
    return command("mirage", "status", folder, "--failures", "10")


def told(summary: Summary, progress: Progress, found: Mapping[str, str]) -> Iterator[str]:
    """The summary, line by line."""
    counts, usage = summary.counts, summary.usage
    fresh = max(progress.settled - progress.resumed, 0)
    speed = f", {rate(fresh / summary.seconds)}" if fresh and summary.seconds else ""
    if not fresh and summary.state == "done":
        speed = "; nothing was owed"
    reason = f": {short(summary.reason)}" if summary.state == "stopped" else ""
    colors = {"done": "green" if not counts.failed else "yellow", "interrupted": "yellow"}
    state = click.style(summary.state, fg=colors.get(summary.state, "red"), bold=True)
    yield f"{state} after {duration(summary.seconds)}{speed}{reason}"
    yield ""
    owed = progress.total - counts.read if progress.total and summary.state != "done" else 0
    yield from sums(counts, owed, rows=summary.state == "done")
    yield from causes("failed", counts.failures, counts.by_row, found, "yellow")
    yield from causes("dropped", counts.drops, counts.by_row, {})
    yield field("calls", f"paid {usage.calls:,} + recalled {usage.recalled:,}")
    if usage.calls:
        yield field("tokens", f"{usage.prompt_tokens:,} in, {usage.completion_tokens:,} out")
    if summary.total.calls > usage.calls:
        total = summary.total
        paid = f"{total.prompt_tokens:,} in, {total.completion_tokens:,} out"
        yield field("in all", f"{counted(total.calls, 'call')} paid, tokens {paid}")
    if summary.processes > 1:
        yield field("processes", f"{summary.processes:,}")
    if summary.state == "done":
        yield field("dataset", dataset(counts, summary.target))
    yield field("run", near(summary.folder))


def dataset(counts: Counts, target: Place) -> str:
    """Where the dataset is; where every record failed, what stood there before stays."""
    return f"nothing was written to {near(target)}" if counts.fruitless else near(target)


def sums(counts: Counts, owed: int, *, rows: bool) -> Iterator[str]:
    """What was read, and where it is now; of rows as well, where they are not as many."""
    records = {"written": counts.written, "dropped": counts.dropped, "failed": counts.failed}
    rest = f"; {owed:,} are still owed" if owed else ""
    yield field("records", balance("read", counts.read, records) + rest)
    made = {
        "written": counts.rows_written,
        "dropped": counts.rows_dropped,
        "failed": counts.rows_failed,
    }
    if rows and (counts.rows_made != counts.read or made != records):
        yield field("rows", balance("made", counts.rows_made, made))


def causes(
    label: str,
    numbers: Mapping[str, int],
    by_row: Mapping[str, int],
    found: Mapping[str, str],
    color: str | None = None,
) -> Iterator[str]:
    """Why records, or rows of `many`, are not in the dataset, the most frequent causes first."""
    ordered = sorted(numbers.items(), key=lambda item: -item[1])
    for cause, number in ordered[:CAUSES]:
        said = f": {short(found[cause])}" if cause in found else ""
        yield field(
            label,
            f"{number:,} {short(cause)}{rows_of(number, by_row.get(cause, 0))}{said}",
            color=color,
        )
        label = ""
    if len(ordered) > CAUSES:
        yield field("", f"and {len(ordered) - CAUSES} other causes", color=color)
