"""The one exception tree. Every error names the boundary that was crossed when it arose.

    MirageError
    ├── ConfigError            the configuration's mistakes, all at once, each with its position
    ├── RunError               this run cannot start or go on
    │   ├── LockedError        another process owns the run folder
    │   ├── SourceChangedError the source is not the one that the run began with
    │   └── StoppedError       stopped on purpose: failures, budget, authentication
    │       └── AuthenticationError
    └── RecordError            one record's trouble; never another's
        ├── SourceError        boundary "source": the row could not be read
        ├── SelectError        boundary "select": a key is missing
        ├── MediaError         boundary "media": an image is missing, broken or refused
        ├── TemplateError      boundary "template": a value cannot become text
        ├── EngineError        boundary "engine": no completion came
        ├── ParseError         boundary "parse": the reply is not what was asked for
        ├── StepError          boundary "step": the user's own function failed
        └── SinkError          boundary "sink": the row does not fit the output

`Dropped` is no error: it is how a filter says that a record is not wanted.
"""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar, Literal

from msgspec import Struct


class MirageError(Exception):
    """Anything that MIRAGE itself raises."""


class Mistake(Struct, frozen=True):
    """One mistake in a configuration. `line` and `column` count from 1; 0 means unknown."""

    path: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(MirageError):
    """All mistakes of one configuration, in the order of their positions."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = sorted(mistakes, key=lambda m: (m.file, m.line, m.column))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


class RunError(MirageError):
    """This run cannot start or go on."""


class LockedError(RunError):
    """Another process owns the run folder."""


class SourceChangedError(RunError):
    """The source is not the one that the run began with."""


class StoppedError(RunError):
    """The run was stopped on purpose; what is finished is kept."""


class AuthenticationError(StoppedError):
    """An endpoint refused the key: no other call can succeed either."""


class RecordError(MirageError):
    """One record's trouble. `kind` is a short, stable word that `retry --class` selects by.

    `raw` is the model's reply where there is one, `attempts` the calls that were made, `step` the
    entry of `outputs` in which it arose.
    """

    boundary: ClassVar[str] = ""

    def __init__(
        self, kind: str, message: str, *, raw: str | None = None, attempts: int = 0
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.raw = raw
        self.attempts = attempts
        self.step = ""

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process boundaries whole."""
        return type(self), (self.kind, self.message), self.__dict__


class SourceError(RecordError):
    boundary = "source"


class SelectError(RecordError):
    boundary = "select"


class MediaError(RecordError):
    boundary = "media"


class TemplateError(RecordError):
    boundary = "template"


HALTED = "halted"
"""The kind of the EngineError of a call that a stopped run turns back: its record stays owed."""


class EngineError(RecordError):
    boundary = "engine"


class ParseError(RecordError):
    boundary = "parse"


class StepError(RecordError):
    boundary = "step"


class SinkError(RecordError):
    boundary = "sink"


class Drop(Exception):  # noqa: N818
    """Raised by a filter: the record is dropped, and `reason` says by which filter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class boundary:  # noqa: N801 - read as a verb: with boundary(MediaError, "broken"): ...
    """Whatever an outside library raises in here becomes `error`; our own errors pass through."""

    __slots__ = ("error", "kind")

    def __init__(self, error: type[RecordError], kind: str) -> None:
        self.error = error
        self.kind = kind

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> Literal[False]:
        if isinstance(exc, Exception) and not isinstance(exc, (MirageError, Drop)):
            raise self.error(self.kind, f"{type(exc).__name__}: {exc}") from exc
        return False
