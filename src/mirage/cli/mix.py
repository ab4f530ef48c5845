"""`mirage mix`: what an epoch of a training mixture holds, whether it is sound, and its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirage.cli import options
from mirage.cli.convert import ahead, summed, tidy, told
from mirage.cli.live import counting
from mirage.cli.table import table
from mirage.cli.text import clean, counted, field, fields, near, say, say_json

if TYPE_CHECKING:
    from mirage.dataset.verification import Violation
    from mirage.mixture.mixture import Mixture
    from mirage.mixture.writing import Render

SHOWN = 5
TEXTS = 3
RENDERS = click.Choice(["simple", "chat"])


@click.command(
    epilog=options.example(
        "mirage mix data.yaml",
        "mirage mix data.yaml --to sharegpt --out out/train.json",
        "mirage mix data.yaml --render chat --tokenizer qwen --out train.jsonl",
    )
)
@click.argument("config", metavar="DATA.YAML", type=click.Path(path_type=Path))
@click.option("--seed", default=0, help="What is drawn, and in which order.  [0]")
@click.option("--to", metavar="FORMAT", help="Write samples in this format.")
@click.option("--render", type=RENDERS, help="Write, or show, training texts.")
@click.option("--tokenizer", metavar="DIR", help="The folder whose chat template renders.")
@click.option("-o", "--out", metavar="OUT", help="Where the epoch is written.")
@click.option(
    "--batch-size",
    metavar="N",
    default=1,
    type=click.IntRange(1),
    help="So many of one group follow each other.  [1]",
)
@click.option("--epoch", metavar="N", default=0, help="Which epoch's order.  [0]")
@click.option("--container", metavar="KIND", help="The kind of file of OUT.  [by its suffix]")
@options.as_json
def mix(config: Path, as_json: bool, **given: Any) -> int:
    """Check a training mixture, and write an epoch of it.

    DATA.YAML names groups, their datasets and how much is drawn of each. Without --out nothing is
    written: every id is looked up, and what an epoch holds is shown; --render shows first texts.
    """
    from mirage import mixture as mixtures

    render = renderer(given["render"], given["tokenizer"])
    if given["to"] and (render or not given["out"]):
        why = "does not go with --render" if render else "needs --out, where they go"
        raise click.UsageError(f"--to writes samples in a format: it {why}")
    mixture = mixtures.open_mixture(config, seed=given["seed"])
    if given["out"]:
        return written(mixture, render, as_json, given)
    return shown(mixture, render, as_json, given)


def renderer(name: str | None, tokenizer: str | None) -> Render | None:
    from mirage.mixture.writing import rendering

    if (name == "chat") != (tokenizer is not None):
        raise click.UsageError("--render chat and --tokenizer go together")
    return rendering(name, tokenizer) if name else None


def written(mixture: Mixture, render: Render | None, as_json: bool, given: dict[str, Any]) -> int:
    """Write an epoch, and say what became of it."""
    from mirage.config.data import SinkConfig
    from mirage.dataset import meant
    from mirage.mixture.writing import write_mixture

    sink = {"path": given["out"], "format": given["to"], "container": given["container"]}
    with tidy(), counting() as progress:
        done = meant(
            lambda: write_mixture(
                mixture,
                SinkConfig.model_validate(sink),
                base=Path.cwd(),
                render=render,
                batch_size=given["batch_size"],
                epoch=given["epoch"],
                progress=progress,
            )
        )
    if as_json:
        say_json({"epoch": held(mixture), **summed(done, given["out"])})
    else:
        say(shares(mixture))
        say("\n" + fields(told(done, given["out"])))
        if given["to"] and not done.refused:
            say(ahead(done, given["out"]))
    return 3 if done.refused else 0


def shown(mixture: Mixture, render: Render | None, as_json: bool, given: dict[str, Any]) -> int:
    """Show what an epoch holds, and every rule that is broken."""
    from mirage.mixture.checking import check

    found: list[Violation] = []
    seen: Counter[str] = Counter()

    def report(violation: Violation) -> None:
        seen[violation.rule] += 1
        if as_json or seen[violation.rule] <= SHOWN:
            found.append(violation)

    with counting() as progress:
        checked = check(mixture, report, progress)
    broken = checked.broken
    rows = [*first(mixture, render, given)] if render else []
    if as_json:
        listed = [{"place": v.place, "rule": v.rule, "message": v.message} for v in found]
        texts = {"texts": rows} if render else {}
        counts = {"ok": not broken, "epoch": held(mixture, checked.images), "broken": dict(broken)}
        say_json({**counts, "found": listed, **texts})
        return 3 if broken else 0
    say(shares(mixture, checked.images))
    say()
    for each in found:
        rule = click.style(each.rule, fg="red")
        say(f"{clean(near(each.place))}: {rule}: {clean(each.message)}")
    for rule, count in seen.items():
        if count > SHOWN:
            say(f"{rule}: {count - SHOWN:,} more; --json lists them all")
    verdict = ", ".join(f"{n:,} {rule}" for rule, n in broken.most_common())
    say(field("result", verdict or "every rule is kept"))
    for row in rows:
        say(f"\n{click.style(clean(row['place']), bold=True)}")
        say(clean(row.get("text") or row["refused"]))
        if row.get("images"):
            say(click.style(", ".join(map(clean, row["images"])), dim=True))
    return 3 if broken else 0


def first(
    mixture: Mixture, render: Render | None, given: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """The first texts of an epoch, with the ids of their images."""
    from array import array
    from itertools import chain, islice

    from mirage.mixture.writing import Rows

    order = chain.from_iterable(mixture.batches(given["batch_size"], given["epoch"]))
    rows = Rows(mixture, array("Q", islice(order, TEXTS)), render)
    for record in rows.peek(TEXTS):
        place = near(record.place)
        if record.fault is not None:
            yield {"place": place, "refused": str(record.fault)}
        else:
            values = record.values
            yield {"place": place, "text": values["text"], "images": values["image_ids"]}


def shares(mixture: Mixture, images: Sequence[int] = ()) -> str:
    """What an epoch holds, dataset by dataset and group by group; images where they are known."""
    rows = []
    each = [*zip_longest(mixture.shares(), images)]
    for group, numbers in mixture.groups().items():
        mine = [(share, shown) for share, shown in each if share.group == group]
        seen = f"{sum(shown for _, shown in mine):,}" if images else ""
        whole = f"{len(numbers) / (len(mixture) or 1):.1%}"
        rows.append([group, "", f"{len(numbers):,}", seen, "", whole])
        for share, shown in mine:
            count = "" if shown is None else f"{shown:,}"
            drawn, of = f"{share.drawn:,}", f"{share.trained:,}"
            rows.append([f"  {share.dataset}", of, drawn, count, f"{share.ratio:.1%}", ""])
    head = ["dataset", "trained", "drawn", "images", "of group", "of epoch"]
    total = counted(len(mixture), "example")
    return f"{table(head, rows)}\n\n{field('epoch', f'{total}, seed {mixture.seed}')}"


def held(mixture: Mixture, images: Sequence[int] = ()) -> dict[str, Any]:
    """The same for a program."""
    datasets = [
        {
            "group": share.group,
            "dataset": share.dataset,
            "trained": share.trained,
            "drawn": share.drawn,
            "ratio": share.ratio,
            **({} if shown is None else {"images": shown}),
        }
        for share, shown in zip_longest(mixture.shares(), images)
    ]
    groups = {name: len(numbers) for name, numbers in mixture.groups().items()}
    whole = {"seed": mixture.seed, "examples": len(mixture)}
    return {**whole, "groups": groups, "datasets": datasets}
