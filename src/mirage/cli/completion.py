"""`mirage completion`: the script that makes a shell complete commands and flags."""

from __future__ import annotations

import click

from mirage.cli import options
from mirage.cli.text import say, say_json


@click.command(epilog=options.example('eval "$(mirage completion bash)"'))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@options.as_json
@click.pass_context
def completion(ctx: click.Context, shell: str, as_json: bool) -> None:
    """Print the completion script of a SHELL."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    script = found(ctx.find_root().command, {}, "mirage", "_MIRAGE_COMPLETE").source().strip()
    if as_json:
        say_json({"shell": shell, "script": script})
    else:
        say(script)
