"""What has been done, and what is owed: one SQLite file for every attempt at a block.

A journal holds completions under their request's key, and for every settled record an `Entry`.
One thread writes all journals of a process; entries that come while it commits share the next
commit. Nobody but its writer opens a live journal; a successor reads earlier attempts and begins a
file of its own. What a torn file no longer holds is owed again.

A write-ahead log, synced with every commit, in exclusive mode: then SQLite keeps its index in this
process, so that it also works on a shared file system, and a commit costs one sync instead of three
(https://www.sqlite.org/wal.html, section 8). What is committed outlives `kill -9` and a power cut.
"""

from mirage.journal.attempts import Journal
from mirage.journal.carried import Carried, carry_over
from mirage.journal.entries import (
    DROPPED,
    FAILED,
    KEY_BYTES,
    PARTIAL,
    PYTHON,
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
    "PYTHON",
    "RECORD",
    "WRITTEN",
    "Carried",
    "Entry",
    "Journal",
    "Writer",
    "carry_over",
]
