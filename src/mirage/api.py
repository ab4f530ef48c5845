"""MIRAGE from Python: `load_config`, `run`, `retry`, `merge`, `check`, `preview`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mirage import merge as merging
from mirage.config import Loaded, backend_of, load_config
from mirage.errors import ConfigError, Mistake
from mirage.given import Configuration, flags, loaded
from mirage.glimpse import Preview, glimpse
from mirage.job import Job, Rows, prepare
from mirage.job import run_dir as folder_of
from mirage.merge import Merged
from mirage.note import recall, remember
from mirage.report import DONE, Progress
from mirage.scale import cluster
from mirage.scale.join import join as joined
from mirage.scale.local import PATIENCE_SECONDS, team
from mirage.scale.ranks import parent, rank_of
from mirage.scale.recruit import Recruiter, cores
from mirage.scale.token import find
from mirage.session import Summary, execute
from mirage.work.rank import ALONE, Rank

__all__ = [
    "Merged",
    "Preview",
    "Summary",
    "check",
    "load_config",
    "merge",
    "preview",
    "retry",
    "run",
]


def run(
    config: Configuration,
    rows: Rows | None = None,
    *,
    source: str | Path | None = None,
    sink: str | Path | None = None,
    engine: str | None = None,
    run_dir: str | Path | None = None,
    limit: int | None = None,
    workers: int | None = None,
    join: int | None = None,
    ray: cluster.Wanted | None = None,
    progress: Progress | None = None,
    accept_changes: bool = False,
) -> Summary:
    """Run a configuration: a file, YAML text, a mapping, or what `load_config` returned.

    `rows` (a list, any iterable of mappings, or a `datasets.Dataset`) take the place of its source,
    and need no sink: the result is then in the run's folder, see `Summary.rows`. The other
    arguments take the place of keys, as the flags of the command line do. Runs again after a crash,
    and after a change, compute only what is owed. Raises ConfigError with every mistake, RunError
    where the run cannot start; failed records are counted in the summary and raise nothing.

    `workers` processes share the run, block by block, this one among them; where it is not given, a
    second one where endpoints answer faster than this one can ask. Where a launcher such as
    `torchrun` has made this process one of several ranks, they share it likewise. With `join` this
    process is one of about so many that were started by themselves, anywhere; with `ray` the
    workers are Ray's.
    """
    given: dict[str, Any] = {"source": source, "sink": sink, "engine": engine}
    given |= {"run_dir": run_dir, "limit": limit}
    whole = loaded(config, flags(**given, workers=workers))
    rank = rank_of(os.environ, parent())
    workers = whole.config.run.workers
    count = workers or 1 if rank.count == 1 else 1
    if (ray or max(rank.count, count, join or 1) > 1) and (rows is not None or not whole.file):
        message = "several processes share a run only where its configuration is a file"
        raise ConfigError([Mistake("run.workers", f"{message} and its rows are not in memory")])
    if ray is not None:
        return on_cluster(whole, ray, partial(follow, whole.file, given), progress, accept_changes)
    if join is not None:
        work = partial(start, whole, None, progress=progress)
        return joined(join, folder_of(whole), work, accept_changes=accept_changes)
    if count > 1 and isinstance(config, Loaded) and config.flagged:
        message = "the other processes read the file alone: write the overrides into it"
        raise ConfigError([Mistake("run.workers", message)])
    recruits = rank is ALONE and workers is None and rows is None and could_recruit(config, whole)
    if count == 1 and not recruits:
        return start(whole, rows, rank, progress, accept_changes)
    with team(count, run_arguments(whole.file, **given), recruits=recruits) as workforce:
        recruiter = Recruiter(workforce)
        summary = start(whole, None, workforce.rank, progress, accept_changes, recruiter=recruiter)
        done = summary.state == DONE  # else they finish their calls first
        workforce.finish(PATIENCE_SECONDS if done else None)
    if done:
        summary.warnings.extend(workforce.losses())
    return summary


def on_cluster(
    config: Loaded,
    wanted: cluster.Wanted,
    part: cluster.Part,
    progress: Progress | None,
    accept_changes: bool,
) -> Summary:
    """Own a run whose work is done by Ray's workers, each of which calls `part`."""
    with cluster.troupe(wanted, part, folder_of(config)) as troupe:
        job = prepare(config, rank=troupe.rank)
        remember(job)
        summary = execute(
            job,
            progress=progress,
            accept_changes=accept_changes,
            rank=troupe.rank,
            watch=troupe.trouble,
        )
        summary.warnings.extend(troupe.losses(summary.state))
        return summary


def merge(run: str | Path, *, partial: bool = False) -> Merged:
    """Publish the dataset of a run whose processes have all gone, given its folder or its
    configuration; see `merge.merge`.
    """
    return merging.merge(prepare(recall(Path(run)), calls=False), partial=partial)


def follow(file: str, given: Mapping[str, Any], rank: Rank) -> str:
    """A rank's part of a run that another process owns; how it has ended, in words."""
    config = loaded(file, flags(**given))
    find(folder_of(config), rank.launch)
    summary = start(config, None, rank, None, False)
    return f"{summary.state} {summary.reason}".strip()


def could_recruit(config: Configuration, whole: Loaded) -> bool:
    """Whether another process could help: it reads the file alone, which is not to be this one's
    own, as what stands in /dev is (a shell's `<(...)`); and it shares only endpoints.
    """
    engines = [whole.config.engine, *whole.config.engines.values()]
    served = any(each is not None and backend_of(each) == "openai" for each in engines)
    flagged = isinstance(config, Loaded) and config.flagged
    found = whole.file and not whole.file.startswith("/dev/")
    return bool(found and served and not flagged and cores() > 1)


def start(
    config: Loaded,
    rows: Rows | None,
    rank: Rank,
    progress: Progress | None,
    accept_changes: bool,
    *,
    recruiter: Recruiter | None = None,
) -> Summary:
    job = prepare(config, rows, rank=rank)
    if rows is None and rank.owns:
        remember(job)
    return execute(
        job, progress=progress, accept_changes=accept_changes, rank=rank, recruiter=recruiter
    )


def run_arguments(file: str, **given: Any) -> list[str]:
    """The arguments of `mirage` that run the same configuration with the same flags."""
    words = ["run", str(Path(file).absolute())]
    for flag, value in given.items():
        if value is not None:
            words += [f"--{flag.replace('_', '-')}", str(value)]
    return words


def retry(
    run: str | Path, *, classes: Iterable[str] = (), progress: Progress | None = None
) -> Summary:
    """Try again what failed in a run, given its folder or its configuration.

    `classes` choose among the failures: by boundary ("parse"), kind ("schema") or both
    ("parse/schema"), whatever the case; all of them where none is given. Raises as `run` does.
    """
    if rank_of(os.environ, parent()).count > 1:
        raise ConfigError(
            [Mistake("", "a retry is the work of one process: start it without a launcher")]
        )
    words = frozenset(word.casefold() for word in classes)

    def wanted(boundary: str, kind: str) -> bool:
        names = {boundary, kind, f"{boundary}/{kind}"}
        return not words or any(name.casefold() in words for name in names)

    return execute(prepare(recall(Path(run))), progress=progress, wanted=wanted)


def check(
    config: Configuration,
    *,
    source: str | Path | None = None,
    sink: str | Path | None = None,
    engine: str | None = None,
    run_dir: str | Path | None = None,
    limit: int | None = None,
) -> Job:
    """What `run` would do: nothing is loaded, asked or written. Raises ConfigError as that does."""
    overrides = flags(source=source, sink=sink, engine=engine, run_dir=run_dir, limit=limit)
    return prepare(loaded(config, overrides), asks=False)


def preview(
    config: Configuration,
    rows: Rows | None = None,
    *,
    count: int = 5,
    source: str | Path | None = None,
    engine: str | None = None,
) -> list[Preview]:
    """The first records' way: prompts, replies and rows. Nothing is written."""
    job = prepare(loaded(config, flags(source=source, engine=engine)), rows, writes=False)
    return glimpse(job, count)
