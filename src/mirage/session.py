"""From a job to a finished dataset: lock, engines, signals, progress, manifest, summary."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct, to_builtins

from mirage.config.data import SourceConfig
from mirage.errors import LockedError, RunError, StoppedError
from mirage.job import Job
from mirage.journal import Carried
from mirage.manifest import write_manifest
from mirage.pipeline import Pipeline
from mirage.places import Place
from mirage.report import DONE, INTERRUPTED, STOPPED, Counts, Progress, Usage
from mirage.scale.recruit import Recruiter
from mirage.scale.roll_call import OWNER_GONE, TAKEN_OVER, RollCall
from mirage.sources import open_source
from mirage.steps.workers import Workers
from mirage.work.journey import Crew
from mirage.work.lock import Lock, named, owner
from mirage.work.owed import Wanted
from mirage.work.publish import totals
from mirage.work.rank import ALONE, Rank
from mirage.work.survey import LOOK_AGAIN_SECONDS

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
SAVE_SECONDS = 1.0
SOON_SECONDS = 0.1
"""After the first look, which comes before the first call."""
WAITING = "waiting: "
COLLECT_AFTER = 50_000
STAYING = "waiting for the owner to publish"
FINISHING = "finishing the calls under way (Ctrl-C again: stop now)"
T = TypeVar("T")
Watch = Callable[[], str]
"""Asked every second why a run must stop; empty where it need not."""


class Summary(Struct, frozen=True):
    """What a run came to. `usage` is what this process paid for, `total` what the run has so far.

    `counts` covers the whole dataset once `state` is "done", and what is settled so far otherwise.
    `processes` is how many have shared the run since it had this owner.
    """

    state: str
    counts: Counts
    usage: Usage
    total: Usage
    seconds: float
    target: Place
    folder: Path
    reason: str = ""
    warnings: list[str] = []
    rank: int = 0
    processes: int = 1

    @property
    def exit_code(self) -> int:
        """As the dialect has it; failed records are for the owner to tell."""
        if self.state == DONE:
            return 3 if self.counts.failed and not self.rank else 0
        return 130 if self.state == INTERRUPTED else 4

    @property
    def published(self) -> bool:
        """Whether the dataset at `target` is this run's; where every record failed, it is not."""
        return self.state == DONE and not self.counts.fruitless

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the dataset, as a source would read them: images are not decoded."""
        if self.counts.fruitless:
            return
        dataset = SourceConfig(path=str(self.target))
        source = open_source(dataset, base=Path(), number=0, spool=self.folder)
        for record in source.peek(self.counts.rows_written):
            yield dict(record.values)

    def to_json(self) -> dict[str, Any]:
        shown = to_builtins(self, enc_hook=str)
        return {**shown, "published": self.published, "exit_code": self.exit_code}


def execute(
    job: Job,
    *,
    progress: Progress | None = None,
    wanted: Wanted | None = None,
    accept_changes: bool = False,
    rank: Rank = ALONE,
    watch: Watch = lambda: "",
    recruiter: Recruiter | None = None,
) -> Summary:
    """Run a job to its end, and say what it came to.

    `wanted` makes it a retry of the failures that it names. Raises LockedError where another
    process owns the run's folder, SourceChangedError where the source is not what it was, unless
    `accept_changes`: then its blocks are found anew, and known completions are carried over.
    RunError where the disk is full, or the run's folder cannot be written to.
    """
    folder, progress = job.folder, progress or Progress()
    ranks = RollCall(folder, rank, progress, job.plan.max_failures)
    session = Session(job, progress, ranks, wanted, rank, watch, recruiter)
    with on_disk(session):
        if not rank.owns:
            ranks.enter(job.work.makes)
            return run_loop(session.run)
        with Lock(folder.root, rank.launch) as lock:
            ranks.lock = lock
            with on_disk(session):  # while the lock tells whether the run is still ours
                folder.sweep()
                if accept_changes:
                    folder.start_over()
                try:
                    return run_loop(session.run)
                except LockedError:  # it was asleep: no reason for the others to end
                    ranks.close(INTERRUPTED)
                    raise
                finally:
                    ranks.close(STOPPED)


@contextlib.contextmanager
def on_disk(session: Session) -> Iterator[None]:
    """What the disk refuses ends the run, or tells that a successor has swept its files."""
    try:
        yield
    except (OSError, sqlite3.Error) as exc:
        root = session.job.folder.root
        if session.ranks.lost:
            raise LockedError(f"the run in {root}: {TAKEN_OVER}") from exc
        raise RunError(f"the run in {root} cannot go on: {exc}") from exc


def run_loop(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on uvloop where there is one; in a thread where a loop runs already. Raises
    KeyboardInterrupt where it was cancelled.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with few_collections(), asyncio.Runner(loop_factory=loop_factory()) as runner:
            try:
                return runner.run(main())
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
    with ThreadPoolExecutor(1) as thread:  # a notebook's
        return thread.submit(lambda: run_loop(main)).result()


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """Collect garbage rarely: records hold no cycles, and looking for them costs 8 % of a run."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if find_spec("uvloop") is None:
        return None
    import uvloop

    return uvloop.new_event_loop


class Session(Struct):
    """One process's work on a run. `progress` is what is shown, of all ranks together."""

    job: Job
    progress: Progress
    ranks: RollCall
    wanted: Wanted | None = None
    rank: Rank = ALONE
    watch: Watch = lambda: ""
    recruiter: Recruiter | None = None
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.progress.begin(named(owner()))
        self.ranks.mine.who = self.progress.who

    async def run(self) -> Summary:
        began = time.monotonic()
        workers = Workers(self.job.loaded.folder.resolve())
        carried = Carried(path) if (path := self.job.folder.carried).exists() else None
        folder = self.job.folder
        crew = Crew(
            plan=self.job.plan,
            engines=self.job.engines,
            workers=workers,
            progress=self.ranks.mine,
            carried=carried,
            probes=folder.probes(),
            remember=folder.set_probes,
        )
        pipeline = Pipeline(self.job.work, crew, self.job.target, self.wanted, rank=self.rank)
        pipeline.lock = self.ranks.lock
        watch = asyncio.create_task(self._watch(pipeline))
        with self._signals(pipeline):
            try:
                state, reason = await self._outcome(pipeline)
            finally:
                watch.cancel()
                workers.close()
                for engine in self.job.engines.values():
                    await engine.close()
            await self.ranks.end(state, reason)
            summary = self._summary(
                state, reason, time.monotonic() - began, [*crew.warnings, *pipeline.warnings]
            )
            if state == DONE and self.rank.owns:
                write_manifest(self.job, summary.counts, summary.total)
        return summary

    async def _outcome(self, pipeline: Pipeline) -> tuple[str, str]:
        """Do the work; how that has ended, and why. Who is interrupted too late is done."""
        try:
            await pipeline.run()
            if self.rank.elected and not self.rank.owns:
                await self._stay()
        except StoppedError as stop:
            if not self.interrupted:
                return self.ranks.verdict(str(stop))
        except asyncio.CancelledError:
            if not self.interrupted:
                raise
        else:
            return DONE, ""
        return INTERRUPTED, "interrupted"

    async def _stay(self) -> None:
        """Wait for the owner to publish: who has joined by itself may be the next one. Raises
        StoppedError when it has, or has ended before it could.
        """
        self.progress.phase = STAYING
        while self.ranks.led and not self.interrupted:
            await asyncio.sleep(LOOK_AGAIN_SECONDS * self.rank.pace)
        raise StoppedError(OWNER_GONE)

    def _summary(self, state: str, reason: str, seconds: float, warnings: list[str]) -> Summary:
        counts, total = self.progress.counts, self.progress.usage
        if state == DONE and self.rank.owns:
            counts, total = totals(self.job.folder.notes())
        return Summary(
            state=state,
            counts=counts,
            usage=self.progress.usage,
            total=total,
            seconds=seconds,
            target=self.job.target,
            folder=self.job.folder.root,
            reason=reason,
            warnings=warnings,
            rank=self.rank.number,
            processes=self.progress.processes,
        )

    async def _watch(self, pipeline: Pipeline) -> None:
        """Keep `progress.json` fresh for `mirage status`, and an eye on the other ranks; the more
        they are, the less often, because they all look at the same folder.
        """
        pause = SOON_SECONDS
        while True:
            windows = [getattr(engine.window, "size", 0) for engine in self.job.engines.values()]
            self.ranks.mine.window = sum(windows)
            self._say_why_it_waits()
            try:
                pipeline.look()
                if self.recruiter is not None:
                    self.ranks.dismiss(self.recruiter.team.gone())
                reason = self.ranks.look() or self.watch()
            except OSError as exc:
                reason = f"the run's folder cannot be read: {exc}"
            if reason:
                pipeline.stop(reason)
            elif self.recruiter is not None:
                engines, rows = self.job.engines.values(), self.job.plan.bounds.rows
                await self.recruiter.look(self.progress, engines, rows)
            await asyncio.sleep(pause * self.rank.pace)
            pause = SAVE_SECONDS

    def _say_why_it_waits(self) -> None:
        """The phase tells of an engine whose endpoints are all gone, for as long as they are."""
        running = "running"
        waits = next(filter(None, (getattr(e, "waits", "") for e in self.job.engines.values())), "")
        for progress in (self.progress, self.ranks.mine):
            if waits and progress.phase == running:
                progress.phase = f"{WAITING}{waits}"
            elif not waits and progress.phase.startswith(WAITING):
                progress.phase = running

    @contextlib.contextmanager
    def _signals(self, pipeline: Pipeline) -> Iterator[None]:
        """The first Ctrl-C, or SIGTERM, or the SIGUSR1 of a job that is out of time, finishes the
        calls under way; the second one does not.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def interrupt() -> None:
            if self.interrupted and task is not None:
                task.cancel()
            self.interrupted = True
            self.progress.phase = self.ranks.mine.phase = FINISHING
            pipeline.stop("interrupted")

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        for name in ENDING:
            loop.add_signal_handler(name, interrupt)
        try:
            yield
        finally:
            for name in ENDING:
                loop.remove_signal_handler(name)
