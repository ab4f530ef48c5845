"""MIMIC-IT: a folder with `NAME_instructions.json`, `NAME_train.json` and the image store.

NAME is the folder's. A sample is one entry and one key of the training file; a conversation is an
entry for each question, of which the last is in the training set, related to the others. Ids and
image keys are kept; what has none is numbered, and named by the content of the image, so that two
runs write the same bytes.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import orjson
from msgspec import Struct, field
from msgspec.structs import replace
from xxhash import xxh3_128

from mirage import atomic
from mirage.errors import RunError, SinkError
from mirage.formats import shape
from mirage.formats.instruction import Instruction
from mirage.formats.shape import Shape
from mirage.record import Image, PartReport
from mirage.sinks.images import read, reference
from mirage.sinks.jsonl import hides
from mirage.sinks.mimicit_parts import TABLES, Claims, entry_ids, images_of, opened, samples_of
from mirage.sinks.shaped import fitted
from mirage.store import StoreWriter

META = {"version": "0.0.1", "time": "", "author": ""}
SHARD = re.compile(r"part\.\d+\.parquet")
REMEMBERED = 10_000


class MimicItSink(Struct):
    """A folder of the three files; `meta` is what the instructions say of themselves."""

    suffix: ClassVar[str] = ".sqlite"

    path: Path
    meta: Mapping[str, str] = {}
    strict: bool = False
    shape: Shape = field(default_factory=partial(shape, "mimic-it"))

    @property
    def name(self) -> str:
        return self.path.name

    def check(self) -> None:
        """Raise RunError where anything else than such a dataset stands in the place of the folder.

        It would be replaced whole.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise RunError(f"{self.path} is a file: the dataset would be a folder of that name")
        ours = {f"{self.name}{end}" for end in ("_instructions.json", "_train.json", ".parquet")}
        for entry in os.scandir(self.path):
            shards = os.scandir(entry.path) if entry.is_dir(follow_symlinks=False) else ()
            foreign = [shard for shard in shards if not SHARD.fullmatch(shard.name)]
            if entry.name not in ours or foreign:
                raise RunError(
                    f"{entry.path} is not part of the dataset: empty the folder, or choose another"
                )

    def write(
        self, part: Path, rows: Iterable[Mapping[str, Any]], columns: Claims | None = None
    ) -> PartReport:
        """Write a part. Rejected: what `ShapedSink` rejects; with `columns`, also rows whose id or
        image key stands for something else. Related ids that lead nowhere are lost.
        """
        done = Written()
        with atomic.replacing(part) as temporary, opened(temporary) as base:
            for table in TABLES:
                base.execute(table)
            base.execute("BEGIN")
            samples = self.samples(rows, part, columns, Images(base, self.name), done)
            base.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)", samples)
            base.execute("INSERT INTO about VALUES (?)", (done.rows + len(done.refused),))
            base.execute("COMMIT")
        if columns is not None:
            columns.unfit.discard(part)
        return PartReport(done.rows, tuple(done.refused), done.lost)

    def samples(
        self,
        rows: Iterable[Mapping[str, Any]],
        part: Path,
        claims: Claims | None,
        images: Images,
        done: Written,
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of the part."""
        for number, row in enumerate(rows):
            try:
                sample, missing = fitted(row, self.shape, strict=self.strict)
                if claims is not None:
                    at = claims.first[part] + number
                    sample, missing = self.placed(sample, missing, at, claims)
                values = self.values(number, sample, images)
            except SinkError as error:
                images.drop()
                done.refused.append((number, error))
                continue
            images.keep(number, sample.id)
            done.lost.update(missing)
            done.rows += 1
            yield values

    def placed(
        self, sample: Instruction, lost: tuple[str, ...], row: int, claims: Claims
    ) -> tuple[Instruction, tuple[str, ...]]:
        """The sample among all others of the dataset. Raises SinkError where it has no place."""
        if error := claims.refusal(row):
            raise error
        related = tuple(id for id in sample.related if claims.holds(id))
        if related == sample.related:
            return sample, lost
        return replace(sample, related=related), (*lost, "related")

    def values(self, number: int, sample: Instruction, images: Images) -> tuple[Any, ...]:
        """A sample as a row of the part."""
        keys = [images.claim(id, image) for id, image in sample.images]
        body = self.shape.write(sample) | {"image_ids": [key for key, _ in keys]}
        del body["images"]
        text = dumped(body)
        related = dumped(list(sample.related)).decode() if sample.related else None
        shown = dumped(keys).decode() if keys else "[]"
        return number, sample.id, len(sample.turns) // 2, related, shown, text

    def columns(self, parts: Sequence[Path]) -> Claims:
        return Claims(parts, self.name, strict=self.strict)

    def fits(self, part: Path, columns: Claims | None) -> bool:
        return columns is None or part not in columns.unfit

    def publish(self, parts: Sequence[Path], columns: Claims | None) -> None:
        """Put the folder in its place. Raises RunError where a part does not fit the others."""
        self.check()
        claims = columns or self.columns(parts)
        if claims.unfit:
            raise RunError(f"{min(claims.unfit)} has ids or images that another part has as well")
        with atomic.workspace(self.path.parent) as room:
            new = room / "new"
            new.mkdir()
            meta = orjson.dumps(META | {**self.meta})
            with (
                (new / f"{self.name}_instructions.json").open("xb", atomic.CHUNK) as file,
                (new / f"{self.name}_train.json").open("xb", atomic.CHUNK) as train,
                Object(file, b'{"meta": ' + meta + b',\n"data": ', b"}") as data,
                Object(train) as trained,
            ):
                for part in parts:
                    publish_part(part, claims, data, trained)
            with StoreWriter(new / f"{self.name}.parquet") as store:
                for part in parts:
                    for key, image, origin in images_of(part):
                        store.add(key, image, origin, again=True)
            atomic.replace_folder(new, self.path)


def publish_part(part: Path, claims: Claims, data: Object, trained: Object) -> None:
    """The entries of a part's samples, and their keys in the training set."""
    for row, body in samples_of(part):
        id = body.pop("id") or claims.name_of(claims.first[part] + row)
        related: list[str] = body.pop("rel_ins_ids")
        earlier: list[dict[str, Any]] = body.pop("earlier", [])
        ids = entry_ids(id, 1 + len(earlier))
        for name, asked in zip(ids, earlier, strict=False):
            data.add(name, {**asked, "image_ids": body["image_ids"], "rel_ins_ids": [*related]})
            related.append(name)
        entry = {key: body.pop(key) for key in ("instruction", "answer", "image_ids")}
        data.add(ids[-1], {**entry, "rel_ins_ids": related, **body})
        trained.add(ids[-1], related)


class Written(Struct):
    """What became of the rows of a part."""

    rows: int = 0
    refused: list[tuple[int, SinkError]] = []
    lost: Counter[str] = field(default_factory=Counter)


class Images:
    """The images of a part: first named by a row (`claim`), then kept, each once, or dropped."""

    def __init__(self, base: Any, name: str) -> None:
        self.base = base
        self.name = name
        self.claimed: dict[tuple[str, bytes], tuple[str, bytes]] = {}
        self.digests: dict[str, bytes] = {}
        self.kept: set[tuple[str, bytes]] = set()

    def claim(self, id: str, image: Image) -> tuple[str, str]:
        """The key of an image, and the digest of its bytes. Raises SinkError."""
        path = image.path if image.member is None else None
        digest, data = self.digests.get(path or ""), None
        if digest is None:
            data = read(image)
            digest = xxh3_128(data).digest()
            if len(self.digests) == REMEMBERED:
                self.digests.clear()
            if path:
                self.digests[path] = digest
        key = id or f"{self.name}_IMG_{digest.hex()}"
        if not key.isascii():
            dumped(key)
        if not self.known(key, digest):
            origin = path or reference(image) or "bytes"
            data = read(image) if data is None else data
            self.claimed[key, digest] = (origin[:200], data)
        return key, digest.hex()

    def known(self, key: str, digest: bytes) -> bool:
        if (key, digest) in self.kept:
            return True
        query = "SELECT 1 FROM images WHERE key = ? AND digest = ?"
        return self.base.execute(query, (key, digest)).fetchone() is not None

    def keep(self, row: int, sample: str) -> None:
        for (key, digest), (origin, data) in self.claimed.items():
            place = f"{origin} of {sample}" if sample else origin
            values = (key, digest, row, place, data)
            self.base.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?)", values)
        if len(self.kept) > REMEMBERED:
            self.kept.clear()
        self.kept.update(self.claimed)
        self.claimed.clear()

    def drop(self) -> None:
        self.claimed.clear()


class Object:
    """A JSON object that is written entry by entry, one a line."""

    def __init__(self, file: BinaryIO, before: bytes = b"", after: bytes = b"") -> None:
        self.file = file
        self.after = after
        self.between = b"\n"
        file.write(before + b"{")

    def __enter__(self) -> Object:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.write(b"\n}" + self.after + b"\n")

    def add(self, key: str, value: Any) -> None:
        self.file.write(self.between + orjson.dumps(key) + b": " + orjson.dumps(value))
        self.between = b",\n"


def dumped(value: Any) -> bytes:
    """A value as JSON. Raises SinkError for what JSON cannot hold."""
    try:
        text = orjson.dumps(value)
    except TypeError as exc:
        raise SinkError("type", str(exc)) from exc
    if b"null" in text and hides([value]):
        raise SinkError("type", "JSON has no NaN and no infinity")
    return text
