"""The files of a MIMIC-IT dataset, as rows: `NAME_instructions.json`, and beside it
`NAME_train.json` and the image store.

The keys of the training file are the training set: other entries are passed over, being there for
those that relate to them. A conversation is several entries, `{id}_0`, `{id}_1` and so on, of which
the training set has the last one, related to the others: they are one row. A key of the training
file that has no instruction is a fault, and so a row of that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from xxhash import xxh3_128_digest, xxh3_128_hexdigest

from mirage.config.data import SourceConfig
from mirage.errors import SourceError
from mirage.formats.mimicit import EntryRow
from mirage.formats.shape import Fault
from mirage.places import Place
from mirage.record import Span
from mirage.sources.blocks import Bounds
from mirage.sources.bytewise import Split
from mirage.sources.files import FileSource, Format, Piece, Row
from mirage.sources.json_object import Entries, key_of, value_of
from mirage.sources.mimicit_files import KNOWN, Dataset, datasets
from mirage.sources.streams import ByteStream

MOST = 1_000
"""No conversation has more turns than this."""
OURS = ("images", "earlier")
"""Keys of a row that no entry has."""
NUMBERED = re.compile(r"(.+)_(0|[1-9][0-9]*)", re.DOTALL)


class Instructions(Entries):
    """The rows of one file of instructions. With `whole`, every entry is a row of its own, whether
    it is in the training set or not.
    """

    def __init__(self, dataset: Dataset, *, whole: bool) -> None:
        super().__init__(dataset.path, KNOWN)
        self.dataset = dataset
        self.whole = whole or dataset.train is None

    def survey(self, path: Place, after: Span | None, bounds: Bounds) -> Iterator[Piece]:
        for p in super().survey(path, after, bounds):
            yield Piece(p.start, p.stop, p.row, p.rows, self._sealed(p.digest))

    def digest(self, path: Place, span: Span) -> str:
        return self._sealed(super().digest(path, span))

    def _sealed(self, digest: str) -> str:
        return xxh3_128_hexdigest(digest.encode() + self.dataset.mark) if digest else ""

    def split(self, stream: ByteStream) -> Iterator[Split]:
        if self.whole:
            yield from super().split(stream)
            return
        held = Held()
        for raw, rows in super().split(stream):
            key = key_of(raw) if rows else None
            if key is None:
                yield from held.left()
                yield raw, rows
                continue
            related = self.dataset.index.related(key)
            if related is not None:
                before = held.before(key, raw, related)
                if not before:
                    yield from held.left()
                yield before + raw, 1
            elif not held.takes(key, raw):
                yield from held.left()
                if not held.takes(key, raw):
                    yield raw, 0
        yield from held.left()

    def _row(self, raw: bytes, head: Any, at: int, file: tuple[Place, str]) -> Row:
        values, digest, fault = super()._row(raw, head, at, file)
        if fault is not None:
            return values, digest, fault
        *earlier, (key, last) = values.items()
        wrong = [id for id, entry in values.items() if not isinstance(entry, dict)]
        if wrong:
            message = f"{file[1]}: {wrong[0]} is no object of instruction and answer"
            return {}, digest, SourceError("type", message)
        related = self.dataset.index.related(key)
        row = {name: last[name] for name in last if name not in OURS} | {"id": key}
        if related is not None:
            if not self.whole or "rel_ins_ids" not in row:
                row["rel_ins_ids"] = related
            digest = xxh3_128_digest(digest + orjson.dumps(related))
        here = range(at, at + len(raw))
        faults = [*self._standing(values, here), *self._dangling(row, related)]
        if earlier:
            row["id"] = key.rpartition("_")[0]
            row["rel_ins_ids"] = related[: -len(earlier)] if related else []
            row["earlier"] = [
                {each: entry[each] for each in ("instruction", "answer") if each in entry}
                for _, entry in earlier
            ]
        if is_texts(row.get("image_ids")):
            row["images"] = [self.dataset.image(id) for id in row["image_ids"]]
        return EntryRow(row, faults), digest, None

    def _standing(self, keys: Iterable[str], here: range) -> Iterator[Fault]:
        """Ids that stand somewhere before as well."""
        for key in keys:
            first = self.dataset.index.first(key)
            if first is not None and first not in here:
                yield Fault("duplicate-id", f"{key} stands at byte {first} of {self.path} as well")

    def _dangling(self, row: Mapping[str, Any], related: Any) -> Iterator[Fault]:
        """Ids that lead nowhere: those of the row, and those that the training file has for it."""
        me, store = row["id"], self.dataset.store
        where = store.path if store else "any image store: there is none beside the file"
        for id in texts(row.get("image_ids")):
            if not self.dataset.holds(id):
                yield Fault("dangling-image", f"{me}: {id} is not in {where}")
        for id in dict.fromkeys([*texts(row.get("rel_ins_ids")), *texts(related)]):
            if self.dataset.index.place(id) is None:
                yield Fault("dangling-related", f"{me}: {id} is not in {self.path}")


class Held:
    """Entries that may turn out to be the earlier turns of a conversation."""

    def __init__(self) -> None:
        self.stem = ""
        self.raws: list[bytes] = []

    def takes(self, key: str, raw: bytes) -> bool:
        """Keep the entry if it is the first turn of a conversation, or the next one of this."""
        found = NUMBERED.fullmatch(key)
        if found is None or int(found[2]) != len(self.raws) or len(self.raws) == MOST:
            return False
        if self.raws and found[1] != self.stem:
            return False
        self.stem = found[1]
        self.raws.append(raw)
        return True

    def before(self, key: str, last: bytes, related: Any) -> bytes:
        """The turns before that of `key`, if it is related to all of them, in order, and they show
        the same images.
        """
        count = len(self.raws)
        turns = [f"{self.stem}_{number}" for number in range(count)]
        if not count or key != f"{self.stem}_{count}" or not is_texts(related):
            return b""
        if related[-count:] != turns or any(shown(raw) != shown(last) for raw in self.raws):
            return b""
        raw = b"".join(self.raws)
        self.raws.clear()
        return raw

    def left(self) -> Iterator[Split]:
        """What is kept, as no rows."""
        for raw in self.raws:
            yield raw, 0
        self.raws.clear()


class Training(Entries):
    """The rows of a training file: its faults. All other keys are in the instructions."""

    def __init__(self, dataset: Dataset, path: Path) -> None:
        super().__init__(path)
        self.dataset = dataset

    def split(self, stream: ByteStream) -> Iterator[Split]:
        at = stream.at
        for raw, rows in super().split(stream):
            yield raw, int(bool(rows) and self._fault(raw, at) is not None)
            at += len(raw)

    def _row(self, raw: bytes, head: Any, at: int, file: tuple[Place, str]) -> Row:
        values, digest, fault = super()._row(raw, head, at, file)
        return values, digest, fault or self._fault(raw, at)

    def _fault(self, raw: bytes, at: int) -> SourceError | None:
        try:
            ((key, related),) = self.parse(raw.strip(self.blank), None).items()
        except ValueError as exc:
            return SourceError("malformed", str(exc))
        index, name = self.dataset.index, self.path.name
        if index.place(key) is None:
            return SourceError("train-key", f"{name}: {key} has no instruction")
        if not is_texts(related):
            return SourceError("type", f"{name}: {key} has no list of ids")
        if (last := index.last(key)) is not None and last >= at + len(raw):
            return SourceError("duplicate-key", f"{name}: {key} stands further down again")
        return None


def shown(raw: bytes) -> Any:
    """The ids of the images of an entry."""
    entry = value_of(raw)
    return entry.get("image_ids") if isinstance(entry, dict) else None


def texts(found: Any) -> list[str]:
    """A list of texts; none of it where it is something else."""
    return found if is_texts(found) else []


def is_texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


class MimicItFiles:
    """All files of some datasets, each in its own format; `instructions` are those datasets."""

    def __init__(self, found: list[Dataset], *, whole: bool) -> None:
        self.formats: dict[Place, Format] = {}
        self.instructions: dict[Place, Dataset] = {dataset.path: dataset for dataset in found}
        for dataset in found:
            self.formats[dataset.path] = Instructions(dataset, whole=whole)
            if dataset.train is not None:
                self.formats[dataset.train] = Training(dataset, dataset.train)

    def check(self, path: Place) -> None:
        self.formats[path].check(path)

    def survey(self, path: Place, after: Span | None, bounds: Bounds) -> Iterator[Piece]:
        return self.formats[path].survey(path, after, bounds)

    def read(self, path: Place, span: Span) -> Iterator[Row]:
        return self.formats[path].read(path, span)

    def digest(self, path: Place, span: Span) -> str:
        return self.formats[path].digest(path, span)

    def weight(self, path: Place, span: Span) -> int:
        return self.formats[path].weight(path, span)


class MimicItSource(FileSource):
    """A source of MIMIC-IT's own files."""

    format: MimicItFiles


def open_files(
    config: SourceConfig, base: Path, number: int, *, whole: bool = False
) -> MimicItSource | None:
    """The rows of the datasets at a path; None where it holds none, but rows in other files.

    Raises ValueError where a file cannot be read as a whole.
    """
    path = base / Path(config.path).expanduser()
    try:
        found = datasets(path, asked=True)
        if not found:
            return None
        images = None if config.images is None else base / Path(config.images).expanduser()
        files = MimicItFiles([Dataset(each, images) for each in found], whole=whole)
        for each in files.formats:
            files.check(each)
        for dataset in files.instructions.values():
            _ = dataset.store
    except OSError as exc:
        raise ValueError(str(exc)) from exc
    return MimicItSource(
        number,
        path if path.is_dir() else path.parent,
        [*files.formats],
        files,
        limit=config.limit,
    )
