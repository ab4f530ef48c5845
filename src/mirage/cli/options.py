"""The flags that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mirage.cli.text import command

Function = TypeVar("Function", bound=Callable[..., Any])

FLAGS = ("source", "sink", "engine", "limit", "run_dir")

as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else."
)
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress; a summary only of trouble.")
config = click.argument("config", type=click.Path(path_type=Path))
source = click.option(
    "--source", metavar="PATH", help="Where the rows are: a file, a glob, a folder, hf://owner/name"
)
engine = click.option(
    "--engine", metavar="SPEC", help="Who answers: llamacpp:demo, MODEL@http://host/v1, fake, ..."
)


def configured(function: Function) -> Function:
    """A configuration, and the flags that take the place of its keys."""
    for option in (
        click.option("--run-dir", metavar="DIR", help="The run's folder.  [runs/NAME]"),
        click.option("--limit", metavar="N", type=click.IntRange(1), help="Read at most N rows."),
        engine,
        click.option("--sink", metavar="PATH", help="Where the dataset goes: a file or a folder."),
        source,
        config,
    ):
        function = option(function)
    return function


def example(*lines: str) -> str:
    """The end of a command's help."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


def again(name: str, config: str | Path, **flags: Any) -> str:
    """The command line that does something with the same configuration, or dataset, and flags."""
    words: list[str] = []
    for flag, value in flags.items():
        if value is not None:
            words += [f"--{flag.replace('_', '-')}", str(value)]
    return command("mirage", name, config, *words)
