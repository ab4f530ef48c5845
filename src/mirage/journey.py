"""One record's way through the steps, up to its journal entries.

Everything that costs something is looked up in the journal first, and journalled before the record
goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mirage.errors import Drop, RecordError, RunError
from mirage.inputs import bind, images_in
from mirage.journal import DROPPED, FAILED, PARTIAL, RECORD, WRITTEN, Carried, Entry
from mirage.media import file_state
from mirage.owed import BlockRun, Owed
from mirage.plan import Plan
from mirage.record import Abilities, Completion, Engine, Failed, Request
from mirage.report import Progress
from mirage.steps.step import Step
from mirage.steps.workers import Workers


@dataclass(slots=True)
class Crew:
    """What all records share on their way. Engines are started for the first record that is owed.

    `carried` holds completions from before the source changed.
    """

    plan: Plan
    engines: Mapping[str, Engine]
    workers: Workers
    progress: Progress
    carried: Carried | None = None
    _starting: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Raises RunError where an engine cannot be started."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        if not self._starting.done():
            await asyncio.shield(self._starting)
        self._starting.result()

    async def _start(self) -> None:
        for engine in self.engines.values():
            try:
                await engine.start()
            except RecordError as error:
                raise RunError(f"an engine cannot be started: {error}") from error
        self.progress.phase = "running"


@dataclass(slots=True)
class Journey:
    """The scope of one record, or of one child of it."""

    crew: Crew
    run: BlockRun
    place: str
    child: int
    ask: int
    values: dict[str, Any]
    accepted: dict[str, bytes] = field(default_factory=dict)

    def abilities(self, engine: str) -> Abilities:
        return self.crew.engines[engine].abilities

    def accept(self, step: str, key: bytes) -> None:
        self.accepted[step] = key

    async def complete(self, engine: str, request: Request) -> Completion:
        """A known completion; or that of an equal request under way; or a call."""
        usage, key = self.crew.progress.usage, request.key
        while True:
            if self.run.journal.knows(key):
                usage.recalled += 1
                return await self.run.journal.recall(key)
            if (leader := self.run.pending.get(key)) is None:
                break
            await leader
        done = self.run.pending[key] = asyncio.get_running_loop().create_future()
        try:
            if self.crew.carried and (known := self.crew.carried.get(key)) is not None:
                await self.run.journal.keep(key, known)
                return known
            return await self._call(self.crew.engines[engine], request)
        finally:
            del self.run.pending[key]
            done.set_result(None)

    async def _call(self, engine: Engine, request: Request) -> Completion:
        """Pay for a completion. The call holds its place in the window until it is journalled."""
        progress = self.crew.progress
        async with engine.window:
            progress.in_flight += 1
            try:
                completion = await engine.complete(request)
                await self.run.journal.keep(request.key, completion)
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
            known = Completion(text, finish="python")
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
        tasks: dict[str, asyncio.Task[None]] = {}

        async def run(step: Step) -> None:
            for name in self.crew.plan.graph.after[step.name]:
                if name in tasks:
                    await tasks[name]
            await self._step(step)

        for step in steps:
            tasks[step.name] = asyncio.create_task(run(step))
        for result in await asyncio.gather(*tasks.values(), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _step(self, step: Step) -> None:
        try:
            self.values[step.name] = await step.run(self)
        except RecordError as error:
            error.step = error.step or step.name
            raise


async def travel(owed: Owed, crew: Crew) -> list[Entry]:
    """All that there is to journal about a record: its own entry first, then its children's."""
    position, record = owed.position, owed.record
    detail: dict[str, Any] = {}
    try:
        values = bind(crew.plan.inputs, record, owed.base)
        if files := [s for s in map(file_state, images_in(values)) if s is not None]:
            detail["files"] = files
        trunk = Journey(crew, owed.run, record.place, RECORD, owed.ask, values)
        trail = await trunk.take(crew.plan.graph.trunk)
        if crew.plan.many is None:
            crew.plan.tree.value(trunk.values)
            return [Entry(position, RECORD, WRITTEN, record.digest, trail, owed.ask, detail)]
        if not trunk.values[crew.plan.many]:
            raise Drop("empty list")
        children = await asyncio.gather(
            *(born(owed, trunk, child) for child in range(len(trunk.values[crew.plan.many])))
        )
    except (RecordError, Drop) as end:
        return [ended(end, Entry(position, RECORD, "", record.digest, b"", owed.ask, detail))]
    detail["children"] = len(children)
    fates = {child.kind for child in children}
    kind = PARTIAL if FAILED in fates else WRITTEN if WRITTEN in fates else DROPPED
    if kind == DROPPED:
        detail["reason"] = "every item was dropped"
    return [Entry(position, RECORD, kind, record.digest, trail, owed.ask, detail), *children]


async def born(owed: Owed, trunk: Journey, child: int) -> Entry:
    """The entry of one child: what it was settled as before, or what it becomes now."""
    ask = 0
    before = owed.run.entries.get((owed.position, child)) if owed.again is not None else None
    if before is not None:
        if child not in (owed.again or ()):
            return before
        ask = before.ask + 1
    many = trunk.crew.plan.many or ""
    values = trunk.values | {many: trunk.values[many][child]}
    journey = Journey(trunk.crew, trunk.run, trunk.place, child, ask, values)
    entry = Entry(owed.position, child, WRITTEN, owed.record.digest, b"", ask)
    try:
        trail = await journey.take(trunk.crew.plan.graph.branch)
        trunk.crew.plan.tree.value(journey.values)
    except (RecordError, Drop) as end:
        return ended(end, entry)
    return Entry(owed.position, child, WRITTEN, owed.record.digest, trail, ask)


def ended(end: RecordError | Drop, entry: Entry) -> Entry:
    """The same entry, dropped or failed."""
    e = entry
    if isinstance(end, Drop):
        detail = {**e.detail, "reason": end.reason}
        return Entry(e.position, e.child, DROPPED, e.digest, b"", e.ask, detail)
    failed = Failed("", end.boundary, end.kind, end.message, end.raw, end.attempts, end.step)
    known = {name: value for name, value in asdict(failed).items() if value}
    return Entry(e.position, e.child, FAILED, e.digest, b"", e.ask, {**e.detail, "failure": known})
