"""The pipeline's judgement: when there are too many failures, which error counts, which sums."""

from __future__ import annotations

import pytest

from mirage.errors import RunError, StoppedError
from mirage.pipeline import first, too_many
from mirage.report import Counts, Usage
from mirage.work.folder import PartNote
from mirage.work.publish import totals


def counts(written: int, failed: int) -> Counts:
    return Counts(read=written + failed, written=written, failed=failed)


@pytest.mark.parametrize(
    ("written", "failed", "limit", "stops"),
    [
        (0, 10_000, None, False),
        (5, 0, 0, False),
        (5, 1, 0, True),
        (5, 3, 3, False),
        (5, 4, 3, True),
        (49, 50, 0.1, False),  # fewer than a hundred
        (50, 50, 0.1, True),
        (90, 10, 0.1, False),
        (89, 11, 0.1, True),
        (0, 100, 1.0, False),
        (100, 0, 0.0, False),
        (99, 1, 0.0, True),
    ],
)
def test_too_many(written: int, failed: int, limit: float | int | None, stops: bool) -> None:
    """An integer is a count, a float a share that is judged after a hundred outcomes."""
    assert bool(too_many(counts(written, failed), limit)) is stops


def test_our_own_error_comes_first() -> None:
    """Among errors that ended a group of tasks, the cause is ours, however deep it lies."""
    cause = StoppedError("the cause")
    inner = BaseExceptionGroup("inner", [KeyError("x"), cause])
    assert first(BaseExceptionGroup("outer", [OSError("after"), inner])) is cause
    alone = OSError("alone")
    assert first(BaseExceptionGroup("outer", [alone])) is alone


def test_sums_that_are_off() -> None:
    """What is unaccounted for is an error, whatever the parts say one by one."""

    def note(made: Counts) -> PartNote:
        return PartNote("f", "s", "p", 1, made, Usage(calls=2))

    fine = Counts(read=3, written=2, failed=1, rows_made=3, rows_written=2, rows_failed=1)
    total, usage = totals([note(fine), note(fine)])
    assert (total.read, total.failed, usage.calls) == (6, 2, 4)
    lost_record = Counts(read=2, written=1)
    lost_row = Counts(read=1, written=1, rows_made=2, rows_written=1)
    for wrong in (lost_record, lost_row):
        with pytest.raises(RunError, match="do not add up"):
            totals([note(fine), note(wrong)])
