"""`mirage inspect`: what is in a dataset, as a table and a few histograms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from mirage.cli import options
from mirage.cli.convert import image_base_path, images_store
from mirage.cli.live import counting
from mirage.cli.preview import as_text
from mirage.cli.table import table
from mirage.cli.text import (
    LABEL,
    clean,
    counted,
    field,
    fields,
    say,
    say_json,
    short,
    width,
)

if TYPE_CHECKING:
    from mirage.dataset.inspection import Images, Inspection, Row
    from mirage.dataset.spread import Spread

BARS = " ▁▂▃▄▅▆▇█"
BAR = "█"
SHOWN = 30
VALUE = 2_000
SPREAD = ("min", "median", "p95", "max")


@click.command(
    epilog=options.example("mirage inspect out/train.json", "mirage inspect rows.parquet -n 2")
)
@click.argument("path", metavar="DATASET")
@click.option("--format", metavar="FORMAT", help="The format of DATASET.  [by its rows]")
@image_base_path
@images_store
@click.option("--limit", metavar="N", type=click.IntRange(1), help="Look at no more than N rows.")
@click.option("-n", "count", metavar="N", default=0, type=click.IntRange(0), help="Show N rows.")
@options.as_json
def inspect(path: str, as_json: bool, count: int, **given: Any) -> None:
    """Show what is in a dataset.

    Columns and their types, lengths of texts, images, turns, and how many rows repeat another.
    Lengths are in characters. Rows that are shown are drawn from all, the same ones each time.
    """
    from mirage import dataset

    with counting() as progress:
        found = dataset.inspect(path, count=count, progress=progress, **given)
    if as_json:
        say_json(summed(found))
        return
    say(fields(told(found)))
    if found.columns:
        say("\n" + columns(found))
    numbers = [*measures(found)]
    if numbers:
        say("\n" + table(["", *SPREAD, "spread"], (measured(*each) for each in numbers)))
    for label, spread in drawn(found):
        say(f"\n{click.style(f'  {label}', bold=True)}\n{histogram(spread)}")
    for row in found.shown:
        say(f"\n{click.style(clean(row.place), bold=True)}")
        for name, value in said(row):
            say(field(short(name, LABEL - 1), cut(clean(value)), color="cyan"))
    if found.broken:
        flags = {name: given[name] for name in ("format", "image_base_path", "images_store")}
        again = options.again("verify", path, **flags)
        say(f"\nnext: {click.style(again, bold=True)}")


def said(row: Row) -> Iterator[tuple[str, str]]:
    """A row as labels and texts: a sample turn by turn, any other key by key."""
    sample = row.sample
    if sample is None:
        for name, value in row.values.items():
            yield name, value if isinstance(value, str) else as_text(value)
        return
    yield "id", sample.id
    if sample.system:
        yield "system", sample.system
    for turn in sample.turns:
        parts = (part if isinstance(part, str) else "[image] " for part in turn.parts)
        yield turn.role, "".join(parts)
    if sample.rejected is not None:
        yield "rejected", sample.rejected


def told(found: Inspection) -> Iterator[tuple[str, str]]:
    """The dataset as a whole, as labels and texts."""
    images = found.images
    yield "format", found.format
    yield "rows", f"{found.rows:,} in {counted(found.files, 'file')}"
    yield "unread", "\n".join(f"{n:,} {kind}" for kind, n in found.unreadable.most_common())
    broken = f"{counted(found.broken, 'row')} against the rules of the format, hence no sample"
    yield "broken", broken if found.broken else ""
    repeats = f"{counted(found.repeated, 'row')} ({share(found.repeated, found.read)})"
    yield "repeated", f"{repeats}: an earlier one holds the same" if found.repeated else "no row"
    if images.count:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in images.types.most_common())
        yield "images", f"{images.count:,} shown, {images.distinct:,} different"
        yield "", kinds
        yield "", "\n".join(f"{n:,} {kind}" for kind, n in images.unreadable.most_common())


def columns(found: Inspection) -> str:
    """The table of columns."""
    rows: list[list[str]] = []
    for name, column in [*found.columns.items()][:SHOWN]:
        kinds = " | ".join(kind for kind, _ in column.kinds.most_common()) or "-"
        lengths = column.lengths
        spread = [f"{n:,}" for n in lengths.summary().values()] if lengths.count else [""] * 4
        nulls = found.read - column.rows
        rows.append([name, kinds, f"{column.rows:,}", f"{nulls:,}" if nulls else "", *spread])
    made = table(["column", "type", "rows", "null", *SPREAD], rows, words=2)
    more = len(found.columns) - SHOWN
    return made + (f"\n  and {counted(more, 'further column')}; see --json" if more > 0 else "")


def measures(found: Inspection) -> Iterator[tuple[str, Spread]]:
    """What is counted in samples and images, those left out that are of no use."""
    samples, images = found.samples, found.images
    if samples is not None and samples.turns.count:
        yield "turns of a sample", samples.turns
        yield "images of a sample", samples.images
        if samples.systems.count:
            yield "system message", samples.systems
        yield "question", samples.questions
        yield "answer", samples.answers
    if images.widths.count:
        yield "image width", images.widths
        yield "image height", images.heights
        yield "image bytes", images.bytes


def measured(label: str, spread: Spread) -> list[str]:
    return [label, *(f"{n:,}" for n in spread.summary().values()), sparks(spread)]


def sparks(spread: Spread) -> str:
    """A histogram in one line; each bar is twice as wide as the one before it."""
    counts = [count for _, _, count in spread.doubling()]
    most = max(counts, default=0) or 1
    return "".join(BARS[-(-8 * count // most)] for count in counts)


def drawn(found: Inspection) -> Iterator[tuple[str, Spread]]:
    """What gets a histogram of its own: the text that a model learns, or the longest one."""
    if found.samples is not None and found.samples.answers.count:
        yield "answers, by characters", found.samples.answers
    elif texts := {n: c.lengths for n, c in found.columns.items() if c.kinds.get("text")}:
        longest = max(texts, key=lambda name: texts[name].sum)
        yield f"{short(longest, 40)}, by characters", texts[longest]


def histogram(spread: Spread) -> str:
    bins = [*spread.doubling()]
    labels = [f"{low:,}" if low == high else f"{low:,} - {high:,}" for low, high, _ in bins]
    counts = [f"{count:,}" for _, _, count in bins]
    left, right = max(map(len, labels)), max(map(len, counts))
    room, most = width() - left - right - 6, max(count for _, _, count in bins)
    return "\n".join(
        f"  {label:>{left}}  {BAR * -(-room * n // most):<{room}}  {count:>{right}}".rstrip()
        for label, count, (_, _, n) in zip(labels, counts, bins, strict=True)
    )


def share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0%"


def cut(text: str) -> str:
    return text if len(text) <= VALUE else f"{text[:VALUE]}… {len(text) - VALUE:,} more"


def summed(found: Inspection) -> dict[str, Any]:
    """The inspection as JSON."""
    samples = found.samples
    return {
        "format": found.format,
        "files": found.files,
        "rows": found.rows,
        "unreadable": dict(found.unreadable),
        "broken": found.broken,
        "repeated": found.repeated,
        "columns": {
            name: {
                "types": dict(column.kinds),
                "rows": column.rows,
                "nulls": found.read - column.rows,
                "length": numbers(column.lengths),
            }
            for name, column in found.columns.items()
        },
        "samples": samples
        and {
            "turns": numbers(samples.turns),
            "images": numbers(samples.images),
            "system": numbers(samples.systems),
            "question": numbers(samples.questions),
            "answer": numbers(samples.answers),
        },
        "images": pictured(found.images),
        "shown": [{"place": row.place, "row": plain(row.values)} for row in found.shown],
    }


def pictured(images: Images) -> dict[str, Any]:
    return {
        "shown": images.count,
        "different": images.distinct,
        "types": dict(images.types),
        "unreadable": dict(images.unreadable),
        "width": numbers(images.widths),
        "height": numbers(images.heights),
        "bytes": numbers(images.bytes),
    }


def numbers(spread: Spread) -> dict[str, Any] | None:
    """Quantiles, and the histogram as [from, to, count]; None where nothing was counted."""
    if not spread.count:
        return None
    return {"count": spread.count, **spread.summary(), "histogram": [*spread.doubling()]}


def plain(row: Mapping[str, Any]) -> Any:
    import orjson

    return orjson.loads(as_text(row))
