"""The blocks of a run: found in the source by its owner, and followed by the other ranks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from mirage.errors import SourceChangedError
from mirage.record import FileState
from mirage.report import Progress
from mirage.sources.blocks import Block, Bounds, Readable, blocks
from mirage.work.folder import RunFolder

LOOK_AGAIN_SECONDS = 0.2


class Survey:
    """The blocks of a run: those stored before, then those found in the source, ahead in a thread.

    Each new block, no larger than `bounds`, is stored before it is handed out. Only the owner of
    the run makes a survey; the other ranks follow it.
    """

    def __init__(
        self, source: Readable, folder: RunFolder, progress: Progress, bounds: Bounds
    ) -> None:
        self._source, self._folder, self._progress = source, folder, progress
        self._bounds = bounds
        self._list = folder.block_list()
        self._found = self._list.more()
        self._progress.surveyed = sum(block.rows for block in self._found)
        self._more = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._files: list[FileState] = []
        self._thread = threading.Thread(target=self._run, name="survey", daemon=True)

    def start(self) -> None:
        """Check the stored blocks, and begin to look for others.

        The files' states are taken before they are read, so that later changes show.
        """
        self._files = self._folder.check_source(self._source)
        self._folder.set_files(self._files)
        self._thread.start()

    def _run(self) -> None:
        try:
            for block in blocks(self._source, tuple(self._found), self._bounds):
                if self._ended:
                    return
                self._list.append(block)
                with self._more:
                    self._found.append(block)
                    self._progress.surveyed += block.rows
                    self._more.notify()
            known = {state.file for state in self._files}
            further = (state for state in self._source.files() if state.file not in known)
            self._folder.set_files([*self._files, *further], complete=True)
            self._progress.total = self._progress.surveyed
        except BaseException as exc:  # noqa: BLE001 - raised again in the reader's thread
            self._error = exc
        finally:
            with self._more:
                self._ended = True
                self._more.notify()

    def __iter__(self) -> Iterator[Block]:
        at = 0
        while (block := self._block(at)) is not None:
            yield block
            at += 1

    def _block(self, at: int) -> Block | None:
        """The block with this number, once it is found; None after the last one."""
        with self._more:
            self._more.wait_for(lambda: len(self._found) > at or self._ended)
            if self._error is not None:
                raise self._error
            return self._found[at] if len(self._found) > at else None

    def stop(self) -> None:
        self._ended = True
        if self._thread.is_alive():
            self._thread.join()


class Follower:
    """The blocks of a run as its owner finds them, for the other ranks.

    Raises SourceChangedError where the source is another here than it is there.
    """

    def __init__(self, source: Readable, folder: RunFolder, stopped: threading.Event) -> None:
        self._source, self._folder = source, folder
        self._stopped = stopped
        self._trusted: set[str] = set()

    def start(self) -> None:
        """Find the files that are here what they are to the owner; others are looked into."""
        same = set(self._folder.files()) & set(self._source.files())
        self._trusted = {state.file for state in same}

    def __iter__(self) -> Iterator[Block]:
        found, complete = self._folder.block_list(), False
        while not complete:
            complete = self._folder.surveyed  # asked first: the last block may come in between
            yield from map(self._checked, found.more())
            if not complete and self._stopped.wait(LOOK_AGAIN_SECONDS):
                return

    def _checked(self, block: Block) -> Block:
        for span in block.spans:
            if span.file not in self._trusted and not self._source.intact(span):
                raise SourceChangedError(
                    f"{span.file}: rows {span.row + 1:,} to {span.row + span.rows:,} are not what "
                    "they are to the owner of the run, rank 0: give all the same source"
                )
        return block

    def stop(self) -> None:
        self._stopped.set()
