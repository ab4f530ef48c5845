"""`mirage import-config`: a configuration of the upstream project becomes one of ours."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import asdict

from mirage.cli import options
from mirage.cli.text import clean, command, near, say, say_json

if TYPE_CHECKING:
    from mirage.config.imported import Imported, Told

LOOKED_AT = 20


@click.command(
    "import-config",
    epilog=options.example(
        "mirage import-config old.yaml",
        "mirage import-config configs/old.yaml -o reformat.yaml",
    ),
)
@click.argument("config", metavar="OLD", type=click.Path(path_type=Path))
@click.option("-o", "--out", metavar="NEW", type=click.Path(path_type=Path), help="Write it there.")
@options.as_json
def import_config(config: Path, out: Path | None, as_json: bool) -> int:
    """Bring over a configuration of the upstream project.

    Relative paths in OLD start here, in the current folder, as they did for the old command. What
    has no counterpart is told with its line; exit code 3 if anything is lost.
    """
    from mirage.atomic import write_bytes

    if out is not None and out.exists():
        raise click.UsageError(f"{out} is there already; nothing was written")
    done = imported(config, out.parent if out else Path())
    if out is not None:
        write_bytes(out.absolute(), done.text.encode())
    if as_json:
        say_json(summed(config, done, out))
    elif out is None:
        say(done.text.rstrip("\n"))
    if not as_json:
        for each in done.told:
            say(line(config, each), err=True)
        if out is not None:
            say(f"next: {click.style(command('mirage', 'check', out), bold=True)}", err=True)
    return 3 if done.lost else 0


def imported(config: Path, folder: Path) -> Imported:
    from mirage.config.document import read_text
    from mirage.config.imported import import_config as convert

    here = Path.cwd()

    def columns(source: dict[str, Any]) -> Sequence[str] | None:
        return columns_of(source, here / folder)

    return convert(read_text(config), str(config), root=here, folder=here / folder, columns=columns)


def columns_of(given: dict[str, Any], base: Path) -> list[str] | None:
    """The columns of a source's first rows; None where it cannot be read now."""
    from mirage.config.data import SourceConfig
    from mirage.config.environment import expand
    from mirage.sources import open_source, peek

    if given["path"].startswith("hf://"):
        return None
    expanded, unset = expand({"source": given}, os.environ)
    if unset:
        return None
    config = SourceConfig.model_validate(expanded["source"])
    with tempfile.TemporaryDirectory() as spool:
        try:
            source = open_source(config, base=base, number=0, spool=Path(spool))
            rows = [row.values for row in peek(source, LOOKED_AT) if row.fault is None]
        except (OSError, ValueError):
            return None
    return list(dict.fromkeys(name for row in rows for name in row))


def line(config: Path, told: Told) -> str:
    """One thing to know, as `file:line: path: message`."""
    place = f"{near(config)}:{told.line}" if told.line else near(config)
    word = click.style("lost: ", fg="red") if told.lost else ""
    return f"{clean(place)}: {clean(told.path)}: {word}{clean(told.message)}"


def summed(config: Path, done: Imported, output: Path | None) -> dict[str, Any]:
    told = [asdict(each) for each in done.told]
    config_is = {"text": done.text} if output is None else {"config": str(output)}
    return {
        "ok": not done.lost,
        "from": str(config),
        **config_is,
        "lost": [{k: v for k, v in each.items() if k != "lost"} for each in told if each["lost"]],
        "notes": [
            {k: v for k, v in each.items() if k != "lost"} for each in told if not each["lost"]
        ],
    }
