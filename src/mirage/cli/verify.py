"""`mirage verify`: a dataset held against the rules of its format."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from mirage.cli import options
from mirage.cli.convert import dataset, image_base_path, images_store
from mirage.cli.live import counting
from mirage.cli.text import clean, counted, fields, say, say_json

if TYPE_CHECKING:
    from mirage.dataset.verification import Verification, Violation

SHOWN = 5


@click.command(epilog=options.example("mirage verify out/train.json --format llava"))
@dataset
@click.option("--format", metavar="FORMAT", help="The format of DATASET.  [by its rows]")
@click.option("--md5", metavar="SUM", help="The MD5 sum of DATASET, or a file of sums.")
@image_base_path
@images_store
@options.as_json
def verify(path: str, as_json: bool, **given: Any) -> int:
    """Check a dataset against the rules of its format.

    Every row is looked at, and every image decoded. Every violation is told with its place and
    rule; exit code 3 if there are any. Notes break no rule.
    """
    from mirage import dataset

    shown: list[Violation] = []
    seen: Counter[str] = Counter()

    def report(violation: Violation) -> None:
        seen[violation.rule] += 1
        if as_json or seen[violation.rule] <= SHOWN:
            shown.append(violation)

    with counting() as progress:
        found = dataset.verify(path, report=report, progress=progress, **given)
    if as_json:
        counts = {"rows": found.rows, "images": found.images}
        rules = {"broken": dict(found.broken), "notes": dict(found.notes)}
        say_json({"ok": found.sound, "format": found.format, **counts, **rules, "found": shown})
    else:
        for violation in shown:
            rule = click.style(violation.rule, fg=None if violation.note else "red")
            say(f"{clean(violation.place)}: {rule}: {clean(violation.message)}")
        for rule, count in seen.items():
            if count > SHOWN:
                say(f"{rule}: {count - SHOWN:,} more; --json lists them all")
        as_told = given["md5"] is not None and "md5" not in found.broken
        say(fields([*summed(found), ("md5", "as it should be" if as_told else "")]))
    return 0 if found.sound else 3


def summed(found: Verification) -> list[tuple[str, str]]:
    looked = f"{counted(found.rows, 'row')}, {counted(found.images, 'image')}"
    return [
        ("format", found.format),
        ("looked at", looked),
        ("result", listed(found.broken) or "every rule is kept"),
        ("notes", listed(found.notes)),
    ]


def listed(rules: Counter[str]) -> str:
    return ", ".join(f"{n:,} {rule}" for rule, n in rules.most_common())
