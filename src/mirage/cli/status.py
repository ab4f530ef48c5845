"""`mirage status`: how a run stands, from outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from mirage.cli import options
from mirage.cli.text import (
    balance,
    clean,
    command,
    counted,
    duration,
    field,
    fields,
    may_pass,
    near,
    rate,
    rows_of,
    say,
    say_json,
    short,
)

if TYPE_CHECKING:
    from mirage.status import Status


@click.command(epilog=options.example("mirage status runs/reformat --failures 10"))
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--failures", metavar="N", default=0, type=click.IntRange(0), help="List N failed records."
)
@options.as_json
def status(run: Path, failures: int, as_json: bool) -> None:
    """Say how a run stands, going on or over.

    RUN is the run's folder. Its owner is not disturbed.
    """
    from mirage import status as looking

    standing = looking.status(run)
    failed = list(islice(looking.failures(run), failures))
    if as_json:
        say_json(asdict(standing) | {"failed": failed})
        return
    owner = f" by {standing.owner}" if standing.owner else ""
    say(f"{click.style(standing.state, bold=True)}{clean(owner)}")
    say()
    say(fields(told(standing)))
    for each in failed:
        say()
        say(one(each))
    if hint := next_step(standing):
        say(f"\nnext: {click.style(hint, bold=True)}")


def told(standing: Status) -> Iterator[tuple[str, str]]:
    """How a run stands, as labels and texts."""
    counts, live, usage = standing.counts, standing.live, standing.usage
    parts = {"written": counts.written, "dropped": counts.dropped, "failed": counts.failed}
    of = f" of {live['total']:,}" if live.get("total") is not None else ""
    yield "records", balance("read", counts.read, parts) + f"; {counts.read:,}{of} settled"
    if standing.owner and live:
        left = live["seconds_left"]
        remaining = f", {duration(left)} left" if left is not None else ""
        saved = f" (seen {duration(standing.seconds_old)} ago)"
        yield "now", f"{live['phase']}, {rate(live['rate'])}{remaining}{saved}"
        yield "calls", f"{live['in_flight']:,} in flight of {live['window']:,}"
    yield "blocks", blocks(standing)
    lines = (
        f"{clean(each.who)}: {each.phase}, {each.settled:,} settled, {rate(each.rate)}, "
        f"{each.in_flight:,} in flight (seen {duration(each.seconds_old)} ago)"
        for each in standing.workers
    )
    yield "workers", "\n".join(lines)
    shared = live.get("processes", 1)
    yield "processes", f"{shared:,}" if shared > 1 and not standing.workers else ""
    jobs = (f"{job.id} {job.state.lower()} {job.node}".strip() for job in standing.jobs)
    yield "jobs", "\n".join(jobs)
    causes = sorted(counts.failures.items(), key=lambda item: -item[1])
    lines = (f"{n:,} {short(cause)}{rows_of(n, counts.by_row[cause])}" for cause, n in causes)
    yield "failed", "\n".join(lines)
    if standing.state == "done":
        yield "paid", paid(asdict(usage))
    else:
        yield "paid", f"{paid(asdict(usage))}, for the finished blocks" * bool(standing.blocks_done)
        if live:
            label = "" if standing.blocks_done else "paid"
            yield label, f"{paid(live['usage'])}, by the last process"
    yield "dataset", near(standing.dataset) if standing.dataset else ""


def blocks(standing: Status) -> str:
    """How many are finished, claimed, and left to be claimed."""
    owed = max(standing.blocks - standing.blocks_done - standing.blocks_claimed, 0)
    claimed = f", {standing.blocks_claimed:,} under way" * bool(standing.blocks_claimed)
    return f"{standing.blocks_done:,} finished{claimed}" + f", {owed:,} owed" * bool(owed)


def paid(usage: Mapping[str, Any]) -> str:
    tokens = f"{usage['prompt_tokens']:,} tokens in, {usage['completion_tokens']:,} out"
    return f"{counted(usage['calls'], 'call')}, {tokens}"


def one(failed: Mapping[str, Any]) -> str:
    """One failed record."""
    child = f", item {failed['child']}" if "child" in failed else ""
    step = f" in '{failed['step']}'" if failed["step"] else ""
    tries = f" after {failed['attempts']} attempts" if failed["attempts"] > 1 else ""
    where = short(f"{failed['place']}{child}")
    lines = [
        field("record", where),
        field("cause", f"{failed['boundary']}/{failed['kind']}{step}{tries}", color="yellow"),
        field("", short(failed["message"])),
    ]
    if failed["raw"]:
        read = failed["boundary"] == "source"
        lines.append(field("text" if read else "reply", short(failed["raw"])))
    return "\n".join(lines)


def next_step(standing: Status) -> str:
    """The command that goes on from here, where there is one; flags cannot be told again."""
    from mirage.work.folder import read

    if standing.state == "done" and may_pass(standing.counts.failures):
        return command("mirage", "retry", near(standing.folder))
    if standing.state in ("interrupted", "stopped", "unfinished"):
        note = read(standing.folder / "run.json")
        if note.get("config") and not note.get("flags"):
            return command("mirage", "run", near(note["config"]))
    return ""
