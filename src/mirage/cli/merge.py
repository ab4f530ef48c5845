"""`mirage merge`: one dataset out of a run whose processes have all gone."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec.structs import asdict

from mirage.cli import options
from mirage.cli.run import dataset, sums
from mirage.cli.text import clean, field, say, say_json, warning


@click.command(epilog=options.example("mirage merge runs/reformat"))
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path, exists=True))
@click.option("--partial", is_flag=True, help="Leave out what is missing, and say what it is.")
@options.as_json
def merge(run: Path, partial: bool, as_json: bool) -> int:
    """Publish the dataset of a run, complete or not at all.

    A run publishes by itself when it ends: this is for one whose processes have gone. Every block
    is held against the source; where rows are missing they are named, and nothing is written.
    """
    from mirage import api

    merged = api.merge(run, partial=partial)
    if as_json:
        say_json(asdict(merged) | {"published": not merged.counts.fruitless})
    else:
        for line in sums(merged.counts, 0, rows=True):
            say(line)
        say(field("dataset", dataset(merged.counts, merged.target)))
        for each in merged.left_out:
            last = f"to {each['last']:,}" if each["last"] else "on"
            rows = f"{each['file']} rows {each['first']:,} {last}"
            say(warning(f"left out: {clean(rows)}"), err=True)
    return 3 if merged.left_out or merged.counts.failed else 0
