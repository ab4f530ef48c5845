"""What flows: the types that pass from one station to the next, and the protocols at both ends.

A `Record` comes out of a `Source`; its prompts become `Request`s, which an `Engine` answers with
`Completion`s; what becomes of it is exactly one `Outcome`, and its rows go to a `Sink`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import orjson
from msgspec import Struct
from msgspec.structs import force_setattr, replace

from mirage.errors import SinkError, SourceError


class Record(Struct, frozen=True):
    """One row of the source, as read.

    `place` says where it stands (source, file and row, or the source's own id) and is unique in a
    run; `digest` is a 128-bit hash of the row as read, which guards the place; it is empty where
    the row was read before, and cannot have changed. `fault` is set where
    the row could not be read: such a record fails at once, and is counted like any other.
    """

    place: str
    digest: bytes
    values: Mapping[str, Any]
    fault: SourceError | None = None

    def with_values(self, values: Mapping[str, Any]) -> Record:
        return replace(self, values=values)


class Image(Struct, frozen=True):
    """One image of a record: its original bytes, or the file that holds them.

    `given` is the value as it stood in the source (a path, a URL, an HF struct, a PIL image);
    exactly one of `data` and `path` is set. Where the file is an archive, `member` reads the image
    out of it; of another one `state` is size in bytes and mtime in ns, as it was found. An image is
    never altered.
    """

    given: Any
    data: bytes | None = None
    path: str | None = None
    member: Callable[[], bytes] | None = None
    state: tuple[int, int] | None = None

    @property
    def name(self) -> str | None:
        """The path or URL that the source gave, alone or beside the bytes."""
        match self.given:
            case str(name) | {"path": str(name)} if name[:5].lower() != "data:":
                return name
            case os.PathLike():
                return str(self.given)
            case _:
                return None

    def read(self) -> bytes:
        """Raises OSError for a file, MediaError for a member that cannot be read."""
        if self.data is not None:
            return self.data
        return self.member() if self.member is not None else Path(self.path or "").read_bytes()


class Picture(Struct, frozen=True):
    """What a model sees of an image: the original bytes, or a copy made for the engine's limits.

    `digest` is the SHA-256 of the *original* bytes, hexadecimal; `copy` says how the copy was made
    and is empty for the original.
    """

    data: bytes
    media_type: str
    digest: str
    copy: str = ""


Part = str | Picture


class Message(Struct, frozen=True):
    """One turn of a conversation. Consecutive texts are one part; pictures stand in order."""

    role: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        return "".join(part for part in self.parts if isinstance(part, str))

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(part for part in self.parts if isinstance(part, Picture))


class Request(Struct, frozen=True):
    """One call to a model, and `key`, the hash of everything that decides its answer.

    `draw` is empty at temperature 0, so that equal requests share a completion; otherwise it names
    the draw (seed, place, child, output, sample), and `seed` derives from it. `ask` counts up when
    a failed record is retried, so that a bad reply is not served again. With `choices` the question
    is which of these answers is the likeliest, not what the model would write.
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Mapping[str, Any] = {}
    schema: Mapping[str, Any] | None = None
    draw: str = ""
    ask: int = 0
    choices: tuple[str, ...] = ()
    key: bytes = b""  # whatever is given: the hash

    def __post_init__(self) -> None:
        turns = [
            (m.role, [p if isinstance(p, str) else (p.digest, p.copy) for p in m.parts])
            for m in self.messages
        ]
        what: tuple[Any, ...]
        what = (self.model, turns, self.sampling, self.schema, self.draw, self.ask)
        if self.choices:  # the keys of all other requests are what they were before these existed
            what += (self.choices,)
        hashed = hashlib.sha256(orjson.dumps(what)).digest()  # by OpenSSL, faster than BLAKE2
        force_setattr(self, "key", hashed[:16])

    @property
    def seed(self) -> int | None:
        """A 31-bit seed for this draw; None where every draw is the same."""
        if not self.draw:
            return None
        what = hashlib.blake2b(f"{self.draw}/{self.ask}".encode(), digest_size=4).digest()
        return int.from_bytes(what) >> 1

    def followed_by(self, *messages: Message) -> Request:
        """The same request with further turns: another key, hence another call."""
        return replace(self, messages=(*self.messages, *messages))

    def with_schema(self, schema: Mapping[str, Any] | None) -> Request:
        return replace(self, schema=schema)


class Completion(Struct, frozen=True):
    """A model's answer. `finish` is the endpoint's own word: stop, length, content_filter, ...

    `seconds` is the time of the call that succeeded; `attempts` counts the failed ones as well.
    Where the request had `choices`, `logprobs` has for each of them the natural logarithm of its
    probability, summed over its tokens, or None where the engine does not tell; `text` is the
    likeliest choice.
    """

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    attempts: int = 1
    logprobs: tuple[float | None, ...] = ()


class Written(Struct, frozen=True):
    """The record is in the dataset, as `rows` rows."""

    place: str
    rows: int = 1


class Dropped(Struct, frozen=True):
    """A filter, or an empty list, left the record out; `reason` says which."""

    place: str
    reason: str


class Failed(Struct, frozen=True):
    """The record could not be finished: where, why, and what the model said last."""

    place: str
    boundary: str
    kind: str
    message: str
    raw: str | None = None
    attempts: int = 0
    step: str = ""


Outcome = Written | Dropped | Failed


class Span(Struct, frozen=True):
    """A contiguous piece of one file of a source.

    `start` and `stop` are in the units of the format (bytes for lines, rows for tables); `row` is
    the number of the first row in the file, counted from 0, and `rows` how many there are. `digest`
    (hexadecimal) is a hash of the piece as stored, which shows whether it has changed.
    """

    file: str
    start: int
    stop: int
    row: int
    rows: int
    digest: str
    source: int = 0


class FileState(Struct, frozen=True):
    """A file as the source found it: enough to see that it has not been touched since."""

    file: str
    size: int
    mtime_ns: int


class Source(Protocol):
    """Rows in. A source is cut into spans, any of which can be read, and read again."""

    def files(self) -> Iterable[FileState]:
        """Every file of the source, in reading order."""
        ...

    def read(self, span: Span) -> Iterator[Record]:
        """The records of a span, in order; exactly `span.rows` of them."""
        ...

    def intact(self, span: Span) -> bool:
        """Whether the span still holds what it held when it was surveyed."""
        ...


class Window(Protocol):
    """How many calls may be under way at once, at most `limit`: entered for a call, left when it is
    journalled.
    """

    @property
    def limit(self) -> float: ...

    async def __aenter__(self) -> None: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...


class Abilities(Struct, frozen=True):
    """What an engine can do, and the largest image that it takes as it is.

    `choices`: it says how likely each of a request's choices is.
    `media_types` are sent unchanged; others are converted to PNG. `max_pixels` and `max_bytes` are
    per image (0: no limit), `max_images` per request.
    """

    images: bool = False
    schema: bool = False
    choices: bool = False
    media_types: frozenset[str] = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
    max_pixels: int = 0
    max_bytes: int = 0
    max_images: int = 0


class Engine(Protocol):
    """Requests in, completions out.

    `complete` raises EngineError for one request's trouble, after its own attempts are spent, and
    StoppedError where no request can succeed (AuthenticationError for a key that is refused). It
    is called inside `window`.
    """

    window: Window
    capacity: int

    @property
    def abilities(self) -> Abilities: ...

    async def start(self) -> None:
        """Load or connect, and find out what it can do: `abilities` holds from here on."""
        ...

    async def complete(self, request: Request) -> Completion: ...

    async def close(self) -> None: ...


class PartReport(Struct, frozen=True):
    """What became of a part: the rows written, and those that did not fit, by their index.

    `lost` counts what the format has no place for, in rows that were written without it.
    """

    rows: int
    rejected: tuple[tuple[int, SinkError], ...] = ()
    lost: Mapping[str, int] = {}


class Sink(Protocol):
    """Rows out. Parts are written block by block and published together, atomically.

    Rows are mappings whose values are JSON values and `Image`s. `columns` is the format's own
    description of column types (None where it has none).
    """

    @property
    def suffix(self) -> str: ...

    def check(self) -> None:
        """Raise RunError where something else stands in the place of the dataset."""
        ...

    def write(
        self, part: Path, rows: Iterable[Mapping[str, Any]], columns: Any | None = None
    ) -> PartReport:
        """Write a part, whole or not at all; with `columns`, cast to those types."""
        ...

    def columns(self, parts: Sequence[Path]) -> Any | None:
        """The types of the dataset's columns over all parts, in order."""
        ...

    def fits(self, part: Path, columns: Any | None) -> bool:
        """Whether a part holds nothing that `columns` cannot."""
        ...

    def publish(self, parts: Sequence[Path], columns: Any | None) -> None:
        """Make the dataset out of its parts: a reader sees the old one or the new one."""
        ...
