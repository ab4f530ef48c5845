"""`mirage demo`: three runs on shipped data, by the models that ship, shown before and after.

The configurations, the rows and what came of them are left in a folder, to be looked at and run
again by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from mirage.cli import options
from mirage.cli.blocks import blocks, has_colours
from mirage.cli.live import showing
from mirage.cli.run import told
from mirage.cli.text import clean, near, say, say_json, short, width

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from mirage.session import Summary

MODEL = "llamacpp:demo"
REAL = "mirage demo --engine MODEL@http://HOST/v1"
SHOWN = 3
PICTURE = 28
Row = Mapping[str, Any]


class Demonstration(Struct, frozen=True):
    """A configuration and its rows, both in `mirage.recipes.demo`, and the file that comes out.

    `images` is the folder of the rows' pictures.
    """

    title: str
    config: str
    rows: str
    sink: str
    images: str = ""


ALL = (
    Demonstration(
        "Badly formatted answers become Markdown",
        "reformat.yaml",
        "answers.jsonl",
        "markdown.jsonl",
    ),
    Demonstration(
        "Sentences become question, explanation and answer",
        "transform.yaml",
        "sentences.jsonl",
        "questions.jsonl",
    ),
    Demonstration(
        "Short captions of pictures become detailed ones",
        "captions.yaml",
        "captions.jsonl",
        "detailed.jsonl",
        "images",
    ),
)


@click.command(epilog=options.example("mirage demo", REAL))
@click.option(
    "--out",
    default="demo-out",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where everything goes.",
)
@click.option("--engine", default=MODEL, show_default=True, metavar="SPEC", help="Who answers.")
@options.as_json
def demo(out: Path, engine: str, as_json: bool) -> int:
    """Make three small datasets out of rows shipped with it.

    The models are tiny and know these three jobs only; --engine puts another one in their place.
    Again, it goes on where it was.
    """
    from mirage import api
    from mirage.report import Progress

    summaries: dict[str, Summary] = {}
    for each in ALL:
        config, flags = lay_out(each, out, engine)
        if not as_json:
            say(click.style(each.title, bold=True))
            say(click.style(f"$ {options.again('run', config, **flags)}\n", dim=True))
        progress = Progress()
        with showing(progress, quiet=as_json):
            summary = summaries[config.stem] = api.run(config, progress=progress, **flags)
        if not as_json:
            for line in told(summary, progress, progress.examples):
                say(line)
            say()
        if summary.state != "done":
            break
        if not as_json:
            say(drawn(table(each, out, summary)))
    if as_json:
        say_json({name: summary.to_json() for name, summary in summaries.items()})
    elif len(summaries) == len(ALL) and summary.state == "done":
        only = " The models are a demonstration: they know these jobs only." * (engine == MODEL)
        say(f"Everything is in {near(out)}.{only}")
        if only:
            say(f"\nnext: {click.style(REAL, bold=True)} asks a real model the same")
    return max(summary.exit_code for summary in summaries.values())


def lay_out(each: Demonstration, out: Path, engine: str) -> tuple[Path, dict[str, Any]]:
    """Write a demonstration's files, unless they are there; its configuration, and the flags."""
    from importlib.resources import files

    from mirage.atomic import write_bytes

    shipped = files("mirage.recipes") / "demo"
    config, rows = out / each.config, out / each.rows
    names = [each.config, each.rows]
    if each.images:
        pictures = sorted(path.name for path in (shipped / each.images).iterdir())
        names += [f"{each.images}/{name}" for name in pictures]
    for name in names:
        path, content = out / name, (shipped / name).read_bytes()
        if not path.exists() or path.read_bytes() != content:
            write_bytes(path, content)
    run_dir = out / "runs" / config.stem
    flags = {"source": rows, "sink": out / each.sink, "engine": engine, "run_dir": run_dir}
    return config, {name: str(value) for name, value in flags.items()}


# -- before and after --------------------------------------------------------------------------


def pairs(rows: Sequence[Row], summary: Summary) -> Iterator[tuple[Row, Row]]:
    """The rows that were written, each before and after, in order."""
    from mirage.status import failures

    failed = {position(each) for each in failures(summary.folder)}
    written = (row for number, row in enumerate(rows) if number not in failed)
    return zip(written, summary.rows(), strict=True)


def position(failed: Mapping[str, Any]) -> int:
    """The row of a failed record: its place is `SOURCE/FILE#ROW`."""
    return int(failed["place"].rpartition("#")[2])


def varied(found: Iterable[tuple[Row, Row]], count: int) -> list[tuple[Row, Row]]:
    """So many pairs, first those that begin differently afterwards."""
    alike: dict[str, list[tuple[Row, Row]]] = {}
    for before, after in found:
        start = beginning(before, after).partition(" ")[0]
        alike.setdefault(start, []).append((before, after))
    in_turn = chain.from_iterable(zip_longest(*alike.values()))
    return list(islice((pair for pair in in_turn if pair), count))


def beginning(before: Row, after: Row) -> str:
    """What the model wrote first."""
    if "caption" in after:
        return str(after["caption"])
    replies = [turn["content"] for turn in after["conversations"]]
    return str(replies[-1] if "conversations" in before else replies[0])


def table(each: Demonstration, out: Path, summary: Summary) -> Table:
    """Some records before and after, and one that failed, where one did."""
    import orjson
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from mirage.status import failures

    rows = [orjson.loads(line) for line in (out / each.rows).read_bytes().splitlines()]
    shown = Table(box=box.ROUNDED, show_lines=True, width=width(), border_style="dim")
    shown.add_column("before", ratio=1, overflow="fold", header_style="bold")
    shown.add_column("after", ratio=1, overflow="fold", header_style="bold cyan")
    for before, after in varied(pairs(rows, summary), SHOWN):
        shown.add_row(look(each, out, before), turns(after, "cyan"))
    for failed in failures(summary.folder):
        said = f"failed: {short(failed['message'])}\n{short(failed['raw'] or '', 120)}"
        shown.add_row(look(each, out, rows[position(failed)]), Text(said, style="yellow"))
        break
    return shown


def look(each: Demonstration, out: Path, row: Row) -> Text:
    """A row as it was: its picture, where it has one and the terminal has colours, and its text."""
    from rich.text import Text

    if not each.images:
        return turns(row, "")
    path = out / each.images / row["image"]
    columns = min(PICTURE, width() // 2 - 6)
    picture = blocks(path, columns) if has_colours() else Text(f"[{path.name}]\n", "dim")
    return picture + turns(row, "")


def turns(row: Row, style: str) -> Text:
    """A conversation turn by turn, the user's dimmed; or the text of a row that is none."""
    from rich.text import Text

    text = row.get("text", row.get("caption", ""))
    told = row.get("conversations") or [{"role": "", "content": text}]
    styles = ["dim" if turn["role"] == "user" else style for turn in told]
    texts = [clean(turn["content"]).strip() for turn in told]
    return Text("\n").join(map(Text, texts, styles))


def drawn(shown: Table) -> str:
    """A table as text for this terminal."""
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), width=width(), force_terminal=True)
    with console.capture() as captured:
        console.print(shown)
    return captured.get()
