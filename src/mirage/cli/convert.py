"""`mirage convert`: a dataset in another format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirage.cli import options
from mirage.cli.live import counting
from mirage.cli.text import balance, clean, counted, fields, near, say, say_json, short

if TYPE_CHECKING:
    from mirage.dataset.conversion import Conversion

dataset = click.argument("path", metavar="DATASET")
image_base_path = click.option(
    "--image-base-path", metavar="DIR", help="The folder that image paths are relative to."
)
images_store = click.option(
    "--images-store", metavar="PATH", help="The image store of mimic-it.  [beside DATASET]"
)


def pairs(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> Any:
    """KEY=VALUE, any number of times, as a mapping."""
    found = dict(each.partition("=")[::2] for each in given)
    if not all(found) or not all("=" in each for each in given):
        raise click.BadParameter("it is KEY=VALUE, such as author=us")
    return found


@click.command(
    epilog=options.example(
        "mirage convert llava.json --to trl out/train.parquet",
        "mirage convert train.parquet --to sharegpt out/train.json --copy-images",
        "mirage convert train.json --to webdataset out/shards/",
    )
)
@dataset
@click.argument("target", metavar="OUT")
@click.option("--to", metavar="FORMAT", help="The format of OUT.  [by its suffix]")
@click.option("--container", metavar="KIND", help="The kind of file of OUT.  [by its suffix]")
@click.option("--from", "format", metavar="FORMAT", help="The format of DATASET.  [by its rows]")
@image_base_path
@click.option(
    "--copy-images", is_flag=True, help="Copy images that are files to OUT's folder `images`."
)
@click.option("--resize", metavar="N", type=click.IntRange(1, 8192), help="N x N pixels, as PNG.")
@click.option("--fetch", is_flag=True, help="Fetch images that are URLs; runs/fetched keeps them.")
@images_store
@click.option(
    "--meta", metavar="KEY=VALUE", multiple=True, callback=pairs, help="What mimic-it says of OUT."
)
@click.option("--strict", is_flag=True, help="Refuse a row that would lose anything.")
@options.as_json
def convert(path: str, target: str, as_json: bool, **given: Any) -> int:
    """Write a dataset in another format.

    FORMAT is a training format (see `mirage formats`), a kind of file, or image-store. --from
    convert-it:NAME makes an image store out of one of the eight sources of Convert-It, which
    --resize and --fetch are for.

    Every row is written, or refused with its place and the reason in OUT.failed.jsonl; what the
    target has no place for is counted.
    """
    from mirage import dataset

    with counting() as progress:
        done = dataset.convert(path, target, progress=progress, **given)
    if as_json:
        say_json(summed(done, target))
    else:
        say(fields(told(done, target)))
        if not done.refused:
            say(ahead(done, target))
    return 3 if done.refused else 0


def summed(done: Conversion, target: str) -> dict[str, Any]:
    counts = {"read": done.read, "written": done.written, "refused": done.refused}
    further = {"causes": dict(done.causes), "lost": dict(done.lost)}
    failures = None if done.failures is None else str(done.failures)
    formats = {"from": done.source, "to": done.target, "dataset": target}
    return {"ok": not done.refused, **formats, **counts, **further, "failures": failures}


def ahead(done: Conversion, target: str) -> str:
    """What comes next: to verify what was written, as what it was written."""
    from mirage.formats import SHAPES

    name = done.target if done.target in SHAPES else None
    return f"\nnext: {click.style(options.again('verify', target, format=name), bold=True)}"


def reason(failures: Path) -> str:
    """The first row that was refused, and why."""
    import orjson

    with failures.open("rb") as lines:
        row = orjson.loads(lines.readline())
    return short(f"{row['place']}: {row['message']}")


def told(done: Conversion, target: str) -> list[tuple[str, str]]:
    """The conversion, as labels and texts."""
    parts = {"written": done.written, "refused": done.refused}
    causes = [f"{n:,} {clean(cause)}" for cause, n in done.causes.most_common()]
    lost = [f"{name} of {counted(n, 'row')}" for name, n in done.lost.most_common()]
    nothing = done.read and not done.written
    return [
        ("formats", f"{done.source} to {done.target}"),
        ("rows", balance("read", done.read, parts)),
        ("refused", "\n".join(causes)),
        ("the first", reason(done.failures) if done.failures else ""),
        ("listed in", near(done.failures) if done.failures else ""),
        ("lost", "\n".join(lost)),
        ("dataset", "nothing was written" if nothing else near(target)),
    ]
