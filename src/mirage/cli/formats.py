"""`mirage formats`: the training formats, and what is lost between two of them."""

from __future__ import annotations

import click

from mirage.cli import options
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
            raise click.UsageError(f"there is no format '{name}'{suggest(name, SHAPES)}")
    if source is None or target is None:
        kept = {name: list(shape(name).containers) for name in SHAPES if source in (None, name)}
        if as_json:
            say_json(kept)
            return
        width = max(map(len, kept))
        say("\n".join(f"  {name:<{width}}  {', '.join(kinds)}" for name, kinds in kept.items()))
        return
    found = losses(source, target)
    if as_json:
        say_json({"from": source, "to": target, "lost": found.lost, "refused": found.refused})
        return
    lost = ", ".join(found.lost) or "nothing"
    say(
        fields([("lost", lost), ("refused", "; ".join(f"samples with {r}" for r in found.refused))])
    )
