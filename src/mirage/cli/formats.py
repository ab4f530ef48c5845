"""`mirage formats`: the training formats, and what is lost between two of them."""

from __future__ import annotations

import click

from mirage.cli import options
from mirage.cli.table import table
from mirage.cli.text import fields, say, say_json
from mirage.names import suggest


@click.command(epilog=options.example("mirage formats", "mirage formats messages llava"))
@click.argument("source", metavar="[FROM", required=False)
@click.argument("target", metavar="TO]", required=False)
@options.as_json
def formats(source: str | None, target: str | None, as_json: bool) -> None:
    """List the training formats, or what is lost between two."""
    from mirage.formats import SHAPES, shape
    from mirage.formats.losses import losses

    for name in (source, target):
        if name is not None and name not in SHAPES:
            hint = suggest(name, SHAPES) or "; `mirage formats` lists them"
            raise click.UsageError(f"there is no format '{name}'{hint}")
    if source is None or target is None:
        kept = {name: list(shape(name).containers) for name in SHAPES if source in (None, name)}
        if as_json:
            say_json(kept)
            return
        rows = ([name, ", ".join(kinds)] for name, kinds in kept.items())
        say(table(["format", "kept in"], rows, words=2))
        return
    found = losses(source, target)
    if as_json:
        say_json({"from": source, "to": target, "lost": found.lost, "refused": found.refused})
        return
    lost = ", ".join(found.lost) or "nothing"
    say(fields([("lost", lost), ("refused", "; ".join(map(samples, found.refused)))]))


def samples(refused: str) -> str:
    """Which samples a format refuses, in words."""
    if refused == "all":
        return "every sample"
    return f"samples {refused}" if refused.startswith("without ") else f"samples with {refused}"
