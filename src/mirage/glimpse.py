"""The way of a few records, to be looked at: rendered prompts, pictures, replies, final rows.

Nothing is written, not even a journal; the sink is asked all the same whether it takes the rows.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from mirage.errors import EngineError
from mirage.job import Job
from mirage.journal import RECORD, Entry, Journal, Writer
from mirage.places import Place
from mirage.record import Abilities, Completion, Engine, Record, Request, Window
from mirage.report import Progress
from mirage.session import run_loop
from mirage.sources import Block, peek
from mirage.steps.workers import Workers
from mirage.work.assemble import Assembly
from mirage.work.journey import Crew, travel
from mirage.work.lock import Lock
from mirage.work.owed import BlockRun, Owed


class Call(Struct, frozen=True):
    """One question to a model and its answer; None where none came."""

    request: Request
    completion: Completion | None


class Preview(Struct):
    """One record's way: what it was, what was asked, and what became of it.

    `shared` counts the answers that were there already, of equal requests before. `problems` says
    why there is no row, or fewer than there could be; `failed` whether any of them is a failure.
    """

    record: Record
    calls: list[Call] = []
    shared: int = 0
    rows: list[Mapping[str, Any]] = []
    problems: list[str] = []
    failed: bool = False


class Listening:
    """An engine, and what is said to it."""

    def __init__(self, engine: Engine, calls: list[Call]) -> None:
        self._engine = engine
        self._calls = calls
        self.window: Window = engine.window
        self.capacity = engine.capacity

    @property
    def abilities(self) -> Abilities:
        return self._engine.abilities

    async def start(self) -> None:
        await self._engine.start()

    async def complete(self, request: Request) -> Completion:
        try:
            completion = await self._engine.complete(request)
        except EngineError:
            self._calls.append(Call(request, None))
            raise
        self._calls.append(Call(request, completion))
        return completion

    async def close(self) -> None:
        await self._engine.close()


def glimpse(job: Job, count: int) -> list[Preview]:
    """The first `count` records, one after the other."""
    with tempfile.TemporaryDirectory(prefix="preview-") as folder:
        previews, entries = run_loop(lambda: _walk(job, count, Path(folder)))
        journal = Journal(Path(folder), b"", None)
        source = job.work.source
        assembly = Assembly(job.plan, source, Block(0, ()), journal, io.BytesIO())
        every = {(entry.position, entry.child): entry for entry in entries}
        for position, preview in enumerate(previews):
            entry = every[position, RECORD]
            base = base_of(job, preview.record)
            preview.rows.extend(assembly.rows_of(preview.record, base, entry, every))
            own = [each for each in entries if each.position == position]
            refused = unfit(job, preview.rows, Path(folder) / f"row-{position}")
            preview.problems.extend(said for each in own if (said := problem(each)))
            preview.problems.extend(refused)
            preview.failed = bool(refused) or any("failure" in each.detail for each in own)
        journal.release()
    return previews


def unfit(job: Job, rows: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    """Which of these rows the sink would not take, and why."""
    if not rows:
        return []
    folder.mkdir()
    report = job.work.sink.write(folder / f"part{job.work.sink.suffix}", iter(rows), None)
    return [f"failed ({error.boundary}/{error.kind}): {error}" for _, error in report.rejected]


def problem(entry: Entry) -> str:
    """Why an entry is not written; empty where it is."""
    if failure := entry.detail.get("failure"):
        where = f" in '{failure['step']}'" if "step" in failure else ""
        return f"failed{where} ({failure['boundary']}/{failure['kind']}): {failure['message']}"
    return f"dropped: {entry.detail['reason']}" if "reason" in entry.detail else ""


def base_of(job: Job, record: Record) -> Place | None:
    """The image folder of the source that a record comes from: its place begins with the number."""
    return job.plan.bases[int(record.place.partition("/")[0])]


async def _walk(job: Job, count: int, folder: Path) -> tuple[list[Preview], list[Entry]]:
    calls: list[Call] = []
    engines: Mapping[str, Engine] = {
        name: Listening(engine, calls) for name, engine in job.engines.items()
    }
    workers, writer, progress = Workers(job.loaded.folder.resolve()), Writer(), Progress()
    crew = Crew(job.plan, engines, workers, progress)
    run = BlockRun(Block(0, ()), Journal(folder, b"", writer), Lock(folder))
    previews: list[Preview] = []
    entries: list[Entry] = []
    try:
        await crew.ready()
        for position, record in enumerate(peek(job.work.source, count)):
            before = progress.usage.recalled
            entries += await travel(Owed(run, position, record, base_of(job, record)), crew)
            previews.append(Preview(record, list(calls), progress.usage.recalled - before))
            calls.clear()
    finally:
        await run.journal.close()
        await writer.close()
        workers.close()
        for engine in engines.values():
            await engine.close()
    return previews, entries
