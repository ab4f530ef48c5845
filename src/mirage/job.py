"""A configuration made ready to run: plan, sources, sink and engines, opened but not started.

Whatever can be wrong with them is wrong here, all at once, before a model is loaded.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct

from mirage.config import IN_FLIGHT, Loaded
from mirage.config.data import SinkConfig
from mirage.config.models import EngineConfig
from mirage.engines import open_engine
from mirage.engines.endpoints import Endpoints
from mirage.errors import ConfigError, MirageError, Mistake, RunError
from mirage.names import suggest
from mirage.places import Place, RemotePath, is_remote, place
from mirage.plan import Plan, build
from mirage.record import Engine, Record, Sink
from mirage.scale.servers import located
from mirage.select import MISSING
from mirage.sinks import open_sink
from mirage.sources import Readable, Sources, open_rows, open_source, peek, takes_in
from mirage.work.assemble import Workplace
from mirage.work.folder import RunFolder
from mirage.work.rank import ALONE, Rank

ROWS_LOOKED_AT = 20
Rows = Iterable[Mapping[str, Any]]


class Job(Struct, frozen=True):
    """One run, ready to start. `target` is where the dataset will be."""

    loaded: Loaded
    work: Workplace
    engines: Mapping[str, Engine]
    target: Place

    @property
    def plan(self) -> Plan:
        return self.work.plan

    @property
    def folder(self) -> RunFolder:
        return self.work.folder


def prepare(
    loaded: Loaded,
    rows: Rows | None = None,
    *,
    writes: bool = True,
    calls: bool = True,
    asks: bool = True,
    rank: Rank = ALONE,
) -> Job:
    """Open everything that a configuration names. Raises ConfigError with all mistakes.

    `rows` take the place of its source. With `writes=False` no sink is needed, with `calls=False`
    no engine, with `asks=False` no cluster is asked where an engine's servers are. Where several
    ranks share the run, an endpoint's limits are shared among them too.
    """
    mistakes: list[Mistake] = []
    plan: Plan | None = None
    try:
        plan = build(loaded)
    except ConfigError as errors:
        mistakes += errors.mistakes
    folder = RunFolder(run_dir(loaded))
    sources = _sources(loaded, rows, folder, mistakes)
    sink = sink_config(loaded, folder, mistakes, rows is not None or not writes)
    opened = _sink(loaded, sink, plan, folder.root / "upload", mistakes)
    engines = _engines(loaded, plan, rank, asks, mistakes) if calls else {}
    if rows is None and writes and opened is not None:
        _keep_apart(loaded, place(loaded.folder, sink.path), folder.root, opened.suffix, mistakes)
        if not mistakes:
            _check_place(loaded, opened, mistakes)
    if plan is not None and sources is not None and rank.owns:
        _check_keys(loaded, plan, sources, mistakes)
    if plan is None or sources is None or opened is None or mistakes:
        raise ConfigError(mistakes)
    work = Workplace(plan, sources, opened, folder)
    return Job(loaded, work, engines, place(loaded.folder, sink.path))


def run_dir(loaded: Loaded) -> Path:
    """The run's folder: as given, or in `runs` beside the configuration, by its name.

    One without a file has neither: a short digest of what it says, in `runs` where one stands.
    Raises ConfigError where it is in a store, which has neither locks nor renames.
    """
    given = loaded.config.run.dir
    if given is not None and is_remote(given):
        message = "a run's folder is on this machine, or on a file system that all workers share"
        raise ConfigError([loaded.mistake(("run", "dir"), f"{message}: not in a store")])
    if given is not None:
        return loaded.folder / Path(given).expanduser()
    return loaded.folder / "runs" / (Path(loaded.file).stem or f"run-{digest(loaded)}")


def digest(loaded: Loaded) -> str:
    """Eight hex digits for a configuration as written, flags not counted."""
    written = orjson.dumps(loaded.origin.data, default=str)
    return hashlib.blake2b(written, digest_size=4).hexdigest()


def sink_config(
    loaded: Loaded, folder: RunFolder, mistakes: list[Mistake], optional: bool
) -> SinkConfig:
    """The sink; where none is given and none is needed, a file in the run's folder."""
    if loaded.config.sink is not None:
        return loaded.config.sink
    if not optional:
        message = "no sink is given: add `sink: {path: out/train.jsonl}`, or a flag: --sink PATH"
        mistakes.append(Mistake("sink", message, loaded.file))
    return SinkConfig(path=str((folder.root / "rows.jsonl").absolute()))


def _sources(
    loaded: Loaded, rows: Rows | None, folder: RunFolder, mistakes: list[Mistake]
) -> Sources | None:
    if rows is not None:
        try:
            return Sources([open_rows(rows)])
        except ValueError as exc:
            mistakes.append(Mistake("rows", str(exc)))
            return None
    opened: list[Readable] = []
    several = isinstance(loaded.config.source, list)
    for number, config in enumerate(loaded.config.sources):
        spool = folder.root / "spool"
        try:
            opened.append(open_source(config, base=loaded.folder, number=number, spool=spool))
        except ValueError as exc:
            path = ("source", number, "path") if several else ("source", "path")
            mistakes.append(loaded.mistake(path, str(exc)))
    if not loaded.config.sources:
        message = "no source is given: add `source: {path: data.jsonl}`, or a flag: --source PATH"
        mistakes.append(Mistake("source", message, loaded.file))
    return Sources(opened) if len(opened) == len(loaded.config.sources) > 0 else None


def _sink(
    loaded: Loaded, config: SinkConfig, plan: Plan | None, stage: Path, mistakes: list[Mistake]
) -> Sink | None:
    declared = plan.declared if plan else {}
    try:
        check_room(place(loaded.folder, config.path))
        return open_sink(config, base=loaded.folder, declared=declared, stage=stage)
    except ValueError as exc:
        mistakes.append(loaded.mistake(("sink", "path"), str(exc)))
        return None


def _keep_apart(
    loaded: Loaded, target: Place, run: Path, suffix: str, mistakes: list[Mistake]
) -> None:
    """What a run writes must not be what it, or the next one, reads; nor is its own folder part of
    the dataset.
    """
    if isinstance(target, Path) and run.resolve().is_relative_to(target.resolve()):
        message = f"the run's folder would stand in the dataset's, {target}: put it elsewhere"
        mistakes.append(loaded.mistake(("run", "dir"), message))
    part, failed = run / "blocks/000000" / f"part{suffix}", run / "blocks/000000/failed.jsonl"
    written: dict[tuple[str, str], tuple[str, tuple[Place, ...]]] = {
        ("sink", "path"): ("dataset", (target, target / f"part-00000{suffix}")),
        ("run", "dir"): ("run's folder", (run, part, failed)),
    }
    for source in loaded.config.sources:
        for path, (what, places) in written.items():
            if any(takes_in(source, loaded.folder, each) for each in places):
                message = (
                    f"the {what} would stand among the rows of {source.path}: put it elsewhere"
                )
                mistakes.append(loaded.mistake(path, message))


def _check_place(loaded: Loaded, sink: Sink, mistakes: list[Mistake]) -> None:
    """Nothing foreign stands where the dataset will be."""
    try:
        sink.check()
    except RunError as exc:
        mistakes.append(loaded.mistake(("sink", "path"), str(exc)))


def check_room(target: Place) -> None:
    """Raise ValueError where no dataset can be put: known now, not after the last call. A store
    says so when it is looked into.
    """
    if isinstance(target, RemotePath):
        return
    room = target.absolute().parent
    while not room.exists():
        room = room.parent
    if not room.is_dir():
        raise ValueError(f"{room} is no folder")
    if not os.access(room, os.W_OK | os.X_OK):
        raise ValueError(f"{room} cannot be written to")


def _engines(
    loaded: Loaded, plan: Plan | None, rank: Rank, asks: bool, mistakes: list[Mistake]
) -> dict[str, Engine]:
    opened: dict[str, Engine] = {}
    several = max(rank.count, loaded.config.run.workers or 1) > 1 and not rank.elected
    several = several and os.environ.get("LOCAL_WORLD_SIZE") != "1"
    for name, spec in plan.engines.items() if plan else ():
        if spec.config.launch and several:
            message = "one process launches for all: leave `workers` out, and give `args.replicas`"
            where = (*spec.path.split("."), "launch")
            mistakes.append(loaded.mistake(where, message))
            continue
        try:
            config = located(spec.config, loaded.folder, asks=asks)
        except (ValueError, RunError) as exc:
            mistakes.append(loaded.mistake((*spec.path.split("."), "base_url"), str(exc)))
            continue
        try:
            opened[name] = open_engine(
                shared(config, rank), backend=spec.backend, name=spec.path, base=loaded.folder
            )
        except ConfigError as errors:
            path = tuple(spec.path.split("."))
            for mistake in errors.mistakes:
                keys = mistake.path.removeprefix(spec.path).strip(".").split(".")
                where = (*path, *(key for key in keys if key))
                mistakes.append(loaded.mistake(where, mistake.message))
    if rank.parent:  # whether anyone is there at all, rank 0 of this machine finds out
        for engine in opened.values():
            if isinstance(endpoints := getattr(engine, "endpoints", None), Endpoints):
                endpoints.heard = True
    return opened


def shared(config: EngineConfig, rank: Rank) -> EngineConfig:
    """A rank's share of what a configuration allows an engine's endpoints."""
    if rank.count == 1 or not config.base_url:
        return config
    in_flight = config.max_in_flight or IN_FLIGHT
    limits = {"max_in_flight": in_flight, "rpm": config.rpm, "tpm": config.tpm}
    known = {name: rank.share(limit) for name, limit in limits.items() if limit is not None}
    return config.model_copy(update=known)


def _check_keys(loaded: Loaded, plan: Plan, source: Readable, mistakes: list[Mistake]) -> None:
    """A key that matches nothing in the first rows is a mistake, not a thousand failures."""
    try:
        first = [record for record in peek(source, ROWS_LOOKED_AT) if record.fault is None]
    except (MirageError, OSError) as exc:
        mistakes.append(loaded.mistake(("source",), str(exc)))
        return
    for number, variable in enumerate(plan.inputs):
        if not first or not variable.required:
            continue
        try:
            found = any(variable.select(record.values) is not MISSING for record in first)
        except MirageError:
            continue  # the record's own failure, when its turn comes
        if not found:
            message = f"'{variable.key}' matches nothing in the first {len(first)} rows"
            hint = near(variable.key, first)
            mistakes.append(loaded.mistake(("inputs", number, "key"), message + hint))


def near(key: str, records: Sequence[Record]) -> str:
    """What the rows hold instead of a key."""
    known = list(dict.fromkeys(name for record in records for name in record.values))
    return suggest(key.split(".")[0].split("[")[0], known) or f"; they hold {', '.join(known[:12])}"
