"""One record's way through the steps, up to its journal entries.

Everything that costs something is looked up in the journal first, and journalled before the record
goes on.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from mirage.errors import HALTED, Drop, EngineError, MirageError, RecordError, RunError
from mirage.journal import DROPPED, FAILED, PARTIAL, PYTHON, RECORD, WRITTEN, Carried, Entry
from mirage.media import file_state
from mirage.plan import Plan
from mirage.plan.inputs import bind, images_in
from mirage.record import Abilities, Completion, Engine, Failed, Request
from mirage.report import Progress
from mirage.steps.step import Step
from mirage.steps.workers import Workers
from mirage.work.owed import BlockRun, Owed, once_more

if TYPE_CHECKING:
    from mirage.work.fetching import Fetching


class Crew(Struct):
    """What all records share on their way. Engines are started for the first record that is owed.

    `carried` holds completions from before the source changed; `probes` what is known of engines
    from before, whether a schema binds them, by name and model; `remember` stores that. While
    `halting`, calls under way are finished and no other is made: such records stay owed.
    """

    plan: Plan
    engines: Mapping[str, Engine]
    workers: Workers
    progress: Progress
    carried: Carried | None = None
    probes: dict[str, bool] = {}
    remember: Callable[[dict[str, bool]], None] = lambda probes: None
    warnings: list[str] = []
    halting: bool = False
    started: bool = False
    fetching: Fetching | None = None
    _starting: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        if self.plan.web is not None:
            from mirage.work.fetching import Fetching

            self.fetching = Fetching(self.plan.web)

    async def ready(self) -> None:
        """Raises RunError where an engine cannot be started."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        if not self._starting.done():
            await asyncio.shield(self._starting)
        self._starting.result()
        self.started = True

    async def _start(self) -> None:
        for name, engine in self.engines.items():
            try:
                await engine.start()
                if name in self.plan.constrained:
                    await self._probe(name, engine)
                if name in self.plan.scored:
                    await self._probe_choices(name, engine)
            except RecordError as error:
                raise RunError(f"an engine cannot be started: {error}") from error
            self._check_sight(name, engine)
        await asyncio.to_thread(self.plan.open_archives)
        self.progress.phase = "running"

    def _check_sight(self, name: str, engine: Engine) -> None:
        """Raises RunError where a model is sent images, and has turned out to take none."""
        if name in self.plan.seeing and not engine.abilities.images:
            raise RunError(
                f"the output '{self.plan.seeing[name]}' sends images, and "
                f"{self.plan.engines[name].model} takes none; `images: []` sends none"
            )

    def ask_leave(self) -> None:
        """Raises EngineError where nothing may be begun any more."""
        if self.halting:
            raise EngineError(HALTED, "the run was stopped before this call")

    async def _probe(self, name: str, engine: Engine) -> None:
        """Find out once per run whether schemas bind: request keys must not change on resuming."""
        probe = getattr(engine, "probe_schema", None)
        if probe is None:
            return
        what = f"{name} {self.plan.engines[name].identity}"
        self.probes[what] = await probe(self.probes.get(what))
        self.remember(self.probes)
        if not self.probes[what]:
            self.warnings.append(
                f"{self.plan.engines[name].identity} does not keep to JSON schemas: "
                "answers are asked for in words, and checked here as ever"
            )

    async def _probe_choices(self, name: str, engine: Engine) -> None:
        """Raises RunError where the engine does not say how likely choices are."""
        what = f"{name} {self.plan.engines[name].identity} choices"
        probe = getattr(engine, "probe_choices", None)
        if probe is not None and not self.probes.get(what):
            self.probes[what] = await probe()
            self.remember(self.probes)
        if not engine.abilities.choices:
            raise RunError(
                f"the output '{self.plan.scored[name]}' has `choices`, and "
                f"{self.plan.engines[name].identity} gives no log-probabilities for them"
            )

    def halt(self) -> None:
        """Turn back all calls that have not begun, those that wait for an endpoint included."""
        self.halting = True
        for engine in self.engines.values():
            if (give_up := getattr(engine, "halt", None)) is not None:
                give_up()


class Journey(Struct):
    """The scope of one record, or of one child of it."""

    crew: Crew
    run: BlockRun
    place: str
    child: int
    asks: Mapping[str, int]
    values: dict[str, Any]
    accepted: dict[str, bytes] = {}

    def abilities(self, engine: str) -> Abilities:
        return self.crew.engines[engine].abilities

    def accept(self, step: str, key: bytes) -> None:
        self.accepted[step] = key

    async def complete(self, engine: str, request: Request) -> Completion:
        """A known completion; or that of an equal request under way; or a call."""
        usage, key = self.crew.progress.usage, request.key
        journal, pending = self.run.journal, self.run.pending
        while True:
            if journal.knows(key):
                usage.recalled += 1
                return await journal.recall(key)
            if key not in pending:
                break
            leader = pending[key] = pending[key] or asyncio.get_running_loop().create_future()
            await asyncio.shield(leader)  # who waits may be cancelled, and then takes nobody along
        pending[key] = None
        try:
            if self.crew.carried and (known := self.crew.carried.get(key)) is not None:
                await journal.keep(key, known)
                usage.recalled += 1
                return known
            return await self._call(self.crew.engines[engine], request)
        finally:
            if (followed := pending.pop(key)) is not None:
                followed.set_result(None)

    async def _call(self, engine: Engine, request: Request) -> Completion:
        """Pay for a completion. The call holds its place in the window until it is journalled."""
        progress = self.crew.progress
        async with engine.window:
            self.crew.ask_leave()
            progress.in_flight += 1
            try:
                completion = await engine.complete(request)
                await self.run.journal.keep(request.key, completion)
            except RunError:
                self.crew.halting = True
                raise
            finally:
                progress.in_flight -= 1
        progress.usage.count(completion)
        return completion

    async def compute(
        self, key: bytes, target: str, arguments: Mapping[str, Any], timeout: float
    ) -> str:
        if self.run.journal.knows(key):
            return (await self.run.journal.recall(key)).text
        known = self.crew.carried.get(key) if self.crew.carried else None
        if known is None:
            text = await self.crew.workers.call(target, arguments, timeout)
            known = Completion(text, finish=PYTHON)
        await self.run.journal.keep(key, known)
        return known.text

    async def take(self, steps: Sequence[Step]) -> bytes:
        """Run steps, each as soon as what it needs is there; returns the trail of their keys."""
        if self.crew.plan.graph.chained:
            for step in steps:
                await self._step(step)
        else:
            await self._graph(steps)
        return b"".join(self.accepted[step.name] for step in steps if step.journalled)

    async def _graph(self, steps: Sequence[Step]) -> None:
        """A step that fails leaves those that do not need it to finish: they may be paid for."""
        tasks: dict[str, asyncio.Task[RecordError | Drop | None]] = {}

        async def run(step: Step) -> RecordError | Drop | None:
            for name in self.crew.plan.graph.after[step.name]:
                if name in tasks and (end := await tasks[name]) is not None:
                    return end
            try:
                await self._step(step)
            except (RecordError, Drop) as end:
                return end
            return None

        async with asyncio.TaskGroup() as group:
            for step in steps:
                tasks[step.name] = group.create_task(run(step))
        for step in steps:
            if (end := tasks[step.name].result()) is not None:
                raise end

    async def _step(self, step: Step) -> None:
        try:
            self.values[step.name] = await step.run(self)
        except RecordError as error:
            error.step = error.step or step.name
            raise


async def travel(owed: Owed, crew: Crew) -> list[Entry]:
    """All that there is to journal about a record: its own entry first, then its children's."""
    record, many = owed.record, crew.plan.many
    detail: dict[str, Any] = {"asks": owed.asks} if owed.asks else {}
    entry = Entry(owed.position, RECORD, WRITTEN, record.digest, b"", detail)
    try:
        values = bind(crew.plan.inputs, record, owed.base)
        if crew.fetching is not None:
            await crew.fetching.bring(values, crew.ask_leave)
        if crew.plan.pictured and (files := list(filter(None, map(file_state, images_in(values))))):
            detail["files"] = files
        trunk = Journey(crew, owed.run, record.place, RECORD, owed.asks, values)
        entry = entry.with_trail(await trunk.take(crew.plan.graph.trunk))
        if many is None:
            crew.plan.tree.value(trunk.values)
            return [entry]
        if not trunk.values[many]:
            raise Drop("empty list")
        async with asyncio.TaskGroup() as group:
            ways = (born(owed, trunk, child) for child in range(len(trunk.values[many])))
            tasks = [group.create_task(way) for way in ways]
    except Exception as end:  # noqa: BLE001 - a fault of ours costs one record, not the run
        return [ended(end, entry)]
    children = [task.result() for task in tasks]
    detail["children"] = len(children)
    fates = {child.kind for child in children}
    kind = PARTIAL if FAILED in fates else WRITTEN if WRITTEN in fates else DROPPED
    if kind == DROPPED:
        detail["reason"] = "every item was dropped"
    return [replace(entry, kind=kind), *children]


async def born(owed: Owed, trunk: Journey, child: int) -> Entry:
    """The entry of one child: what it was settled as before, or what it becomes now."""
    asks: Mapping[str, int] = {}
    before = owed.run.entries.get((owed.position, child)) if owed.again is not None else None
    if before is not None:
        if child not in (owed.again or ()):
            return before
        asks = once_more(before)
    many = trunk.crew.plan.many or ""
    values = trunk.values | {many: trunk.values[many][child]}
    journey = Journey(trunk.crew, trunk.run, trunk.place, child, asks, values)
    detail = {"asks": asks} if asks else {}
    entry = Entry(owed.position, child, WRITTEN, owed.record.digest, b"", detail)
    try:
        entry = entry.with_trail(await journey.take(trunk.crew.plan.graph.branch))
        trunk.crew.plan.tree.value(journey.values)
    except Exception as end:  # noqa: BLE001 - nor a sibling
        return ended(end, entry)
    return entry


def ended(end: Exception, entry: Entry) -> Entry:
    """The same entry, dropped or failed. Raises again what ends more than one record."""
    match end:
        case ExceptionGroup():  # of a task group, whose first error cancelled the others
            return ended(end.exceptions[0], entry)
        case Drop():
            detail = {**entry.detail, "reason": end.reason}
            return replace(entry, kind=DROPPED, trail=b"", detail=detail)
        case RecordError(boundary=boundary, kind=kind, message=message):
            failed = Failed("", boundary, kind, message, end.raw, end.attempts, end.step)
        case MirageError():
            raise end
        case _:
            name = type(end).__name__
            failed = Failed("", "internal", name, f"{name}: {end} ({where(end)})")
    known = {name: value for name, value in asdict(failed).items() if value}
    return replace(entry, kind=FAILED, trail=b"", detail={**entry.detail, "failure": known})


def halted(entries: Sequence[Entry]) -> bool:
    """Whether a record was turned back on its way, by a run that is being stopped."""
    return any(entry.detail.get("failure", {}).get("kind") == HALTED for entry in entries)


def where(error: Exception) -> str:
    """File and line in which an error arose."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename.rpartition('/')[2]}:{last.lineno}"
