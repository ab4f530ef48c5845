"""A run's folder: which blocks there are, where each one's journals and part lie, what is finished.

    run/
      lock                       who owns it
      open                       which launch's other ranks may work here, or how it has ended
      blocks.jsonl               the blocks of the source
      source.json                its files as they were, and whether all of it is in blocks
      blocks/000000/             lock while it is worked on; attempt-0000.sqlite ..., the part of
                                 the last attempt (part-0001.jsonl, say), part.json, and
                                 failed.jsonl: every failed record
      progress.json              the owner's live view
      manifest.json              what was made, and how

A block's part counts as long as the fingerprints in its `part.json` are those of the plan and the
sink, and no journal was written after it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct
from msgspec.json import encode

from mirage.atomic import sweep, write_bytes
from mirage.errors import LockedError, RunError, SourceChangedError
from mirage.journal import carry_over
from mirage.places import Place, RemotePath
from mirage.places.remote import MARKER
from mirage.record import FileState, Source
from mirage.report import Counts, Usage
from mirage.sources.blocks import Block
from mirage.work.block_list import BlockList
from mirage.work.gate import Gate
from mirage.work.lock import is_owned, owner_of


class Rejected(Struct, frozen=True):
    """A row that assembly had to leave out."""

    position: int
    child: int
    boundary: str
    kind: str


class PartNote(Struct, frozen=True):
    """What `part.json` says of a part: what made it, and what became of the block's records.

    `part` is the file's name, `size` its length in bytes.
    `watches` says whether records of the block refer to image files, `spoiled` how many of them
    were written but for a rejected row.
    """

    fingerprint: str
    sink: str
    part: str
    attempts: int
    counts: Counts
    usage: Usage
    rejected: list[Rejected] = []
    watches: bool = False
    spoiled: int = 0
    size: int = 0

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> PartNote:
        rejected = [Rejected(**each) for each in data["rejected"]]
        counts, usage = Counts.from_json(data["counts"]), Usage(**data["usage"])
        return cls(**{**data, "counts": counts, "usage": usage, "rejected": rejected})


def read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none. Raises RunError where it is something else."""
    try:
        found = orjson.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except orjson.JSONDecodeError as exc:
        raise RunError(f"{path} is damaged: {exc}") from exc
    if not isinstance(found, dict):
        raise RunError(f"{path} is damaged: it holds no object")
    return found


def dataset_in_store(target: RemotePath) -> RemotePath | None:
    """The object that a dataset in a store is known by, as it is now; None where there is none."""
    state = target.look_for()
    mark = target / MARKER if state is not None and state.folder else target
    return mark if mark.look_for() is not None else None


class RunFolder:
    """The files of one run. Only the owner of the lock writes here, and in a block's folder who has
    claimed that.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def sweep(self) -> None:
        """Remove what earlier owners left half-written when they were killed; a block that a
        process of theirs still works on is left alone.
        """
        blocks = [folder for folder in self.root.glob("blocks/*") if not is_owned(folder)]
        for folder in (self.root, *blocks, *(block / "images" for block in blocks)):
            sweep(folder)
            for clock in folder.glob("clock-*"):
                clock.unlink(missing_ok=True)
        for left in (self.root / "open", *self.root.glob("progress-*.json")):
            left.unlink(missing_ok=True)

    # -- blocks ----------------------------------------------------------------------------------

    def block_list(self) -> BlockList:
        return BlockList(self.root / "blocks.jsonl")

    def blocks(self) -> list[Block]:
        """The blocks stored so far, in order."""
        return self.block_list().more()

    def files(self) -> list[FileState]:
        """The source's files as they were when the blocks were found to hold what they hold."""
        try:
            return [FileState(**state) for state in self._source().get("files", ())]
        except TypeError as exc:
            raise RunError(f"{self.root / 'source.json'} is damaged: {exc}") from exc

    @property
    def surveyed(self) -> bool:
        """Whether the whole source is in blocks, as far as the last owner has seen."""
        return bool(self._source().get("complete"))

    def _source(self) -> dict[str, Any]:
        return read(self.root / "source.json")

    def set_files(self, files: Iterable[FileState], *, complete: bool = False) -> None:
        found = {"files": list(files), "complete": complete}
        write_bytes(self.root / "source.json", encode(found))

    def check_source(self, source: Source) -> list[FileState]:
        """The source's files now. Raises SourceChangedError unless the stored blocks still hold
        what they held.

        A file whose size and time are unchanged is trusted; the others' spans are hashed again, so
        that a file that has only grown passes.
        """
        found = list(source.files())
        before, now = set(self.files()), set(found)
        touched = {state.file for state in before - now}
        if lost := sorted(touched - {state.file for state in now}):
            raise SourceChangedError(f"the source has lost {lost[0]}; {GO_ON}")
        trusted = {state.file for state in before} - touched
        for span in (span for block in self.blocks() for span in block.spans):
            if span.file not in trusted and not source.intact(span):
                raise SourceChangedError(
                    f"{span.file}: rows {span.row + 1:,} to {span.row + span.rows:,} are not what "
                    f"they were when this run began; {GO_ON}"
                )
        return found

    # -- several processes ------------------------------------------------------------------------

    @property
    def gate(self) -> Gate:
        return Gate(self.root)

    def since(self, number: int, names: str, time_ns: int) -> bool:
        """Whether any of a block's files of these names is newer than a time of the file system."""
        found = self.block(number).glob(names)
        with contextlib.suppress(FileNotFoundError):
            return any(path.stat().st_mtime_ns > time_ns for path in found)
        return True

    def refuse_company(self) -> None:
        """Raise LockedError while a process of an earlier launch finishes its calls."""
        for lock in sorted(self.root.glob("blocks/*/lock")):
            if is_owned(lock.parent):
                raise LockedError(f"{lock.parent} is still in use by {owner_of(lock.parent)}")

    # -- what belongs to a block -----------------------------------------------------------------

    def block(self, number: int) -> Path:
        return self.root / "blocks" / f"{number:06}"

    def part(self, number: int, attempts: int, suffix: str) -> Path:
        """Where the part of a block is put that has had so many attempts. Whoever is late, and
        knows of fewer, writes elsewhere.
        """
        return self.block(number) / f"part-{attempts:04}{suffix}"

    def attempts(self, number: int) -> int:
        return len(list(self.block(number).glob("attempt-*.sqlite")))

    def note(self, number: int) -> PartNote | None:
        """What is known of a block's part; None where there is none."""
        path = self.block(number) / "part.json"
        try:
            return PartNote.from_json(orjson.loads(path.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None  # torn, or another version's: made anew

    def finished(self, number: int, fingerprint: str, sink: str) -> PartNote | None:
        """The note of a part that is what this plan and sink would make; None where it is owed."""
        note = self.note(number)
        if note is None or (note.fingerprint, note.sink) != (fingerprint, sink):
            return None
        try:
            whole = (self.block(number) / note.part).stat().st_size == note.size
        except FileNotFoundError:
            return None
        return note if whole and note.attempts == self.attempts(number) else None

    def drop_note(self, number: int) -> None:
        """Say that a block's part is owed again."""
        (self.block(number) / "part.json").unlink(missing_ok=True)

    def set_note(self, number: int, note: PartNote) -> None:
        """Say what a block's part is; those of earlier attempts are not needed any more."""
        write_bytes(self.block(number) / "part.json", encode(note))
        for path in self.block(number).glob("part-*"):
            if path.name < note.part:
                path.unlink(missing_ok=True)

    def notes(self) -> list[PartNote]:
        """The notes of all parts. Raises RunError where a block has none."""
        numbers = [block.number for block in self.blocks()]
        notes = [note for number in numbers if (note := self.note(number)) is not None]
        if len(notes) < len(numbers):
            raise RunError(f"{len(numbers) - len(notes)} blocks of {self.root} have no part")
        return notes

    # -- the dataset -----------------------------------------------------------------------------

    @staticmethod
    def stamp(sink: str, parts: Iterable[Path], target: Place) -> str:
        """A hash of what the dataset is made of, the sink and the parts, and of itself, as they
        lie on disk; empty where there is no dataset.

        Of a folder only the identity counts: others may keep their caches there. In a store it
        is that of the mark that makes it complete.
        """
        seen = dataset_in_store(target) if isinstance(target, RemotePath) else target
        if seen is None or not seen.exists():
            return ""
        hashed = hashlib.blake2b(sink.encode(), digest_size=16)
        for path in (*parts, seen):
            found = path.stat()
            hashed.update(f"\n{found.st_ino}".encode())
            if not path.is_dir():
                hashed.update(f" {found.st_size} {found.st_mtime_ns}".encode())
        return hashed.hexdigest()

    def published(self) -> str:
        """The stamp of what was published last; empty where nothing was."""
        path = self.root / "published"
        return path.read_text() if path.exists() else ""

    def set_published(self, stamp: str) -> None:
        write_bytes(self.root / "published", stamp.encode())

    def probes(self) -> dict[str, bool]:
        """What earlier processes found out about the engines."""
        return read(self.root / "probes.json")

    def set_probes(self, probes: dict[str, bool]) -> None:
        write_bytes(self.root / "probes.json", orjson.dumps(probes))

    # -- a source that has changed ---------------------------------------------------------------

    def start_over(self) -> None:
        """Find the blocks anew, and carry over the completions that the old ones hold."""
        self.refuse_company()
        old = self.root / "blocks"
        if old.exists():
            carry_over(sorted(old.glob("*/attempt-*.sqlite")), self.carried)
            aside = (self.root / f"blocks.before-{number}" for number in count())
            old.rename(next(path for path in aside if not path.exists()))
        for name in ("source.json", "blocks.jsonl"):
            (self.root / name).unlink(missing_ok=True)

    @property
    def carried(self) -> Path:
        """The completions that earlier blocks paid for, before the source changed."""
        return self.root / "carried.sqlite"


GO_ON = (
    "bring the source back, start over in another `run.dir`, or run again with --accept-changes, "
    "which keeps the completions already paid for"
)
