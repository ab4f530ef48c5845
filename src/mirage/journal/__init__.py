"""What has been done, and what is owed: one SQLite file for every attempt at a block.

A journal holds completions under their request's key, and for every settled record an `Entry`.
One thread writes all journals of a process; entries that come while it commits share the next
commit. Nobody but its writer opens a live journal; a successor reads earlier attempts and begins a
file of its own. What a torn file no longer holds is owed again.

Rollback journals rather than WAL: they also work on a shared file system. `synchronous=NORMAL`:
`kill -9` loses nothing committed, a power cut may lose the last group.
"""

from mirage.journal.attempts import Journal
from mirage.journal.carried import Carried, carry_over
from mirage.journal.entries import (
    DROPPED,
    FAILED,
    KEY_BYTES,
    PARTIAL,
    RECORD,
    WRITTEN,
    Entry,
)
from mirage.journal.writer import Writer

__all__ = [
    "DROPPED",
    "FAILED",
    "KEY_BYTES",
    "PARTIAL",
    "RECORD",
    "WRITTEN",
    "Carried",
    "Entry",
    "Journal",
    "Writer",
    "carry_over",
]
