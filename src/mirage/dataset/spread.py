"""How numbers are spread and what was seen before, in memory that does not grow with the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from msgspec import Struct, field
from xxhash import xxh3_128_digest

from mirage.store.index import scratch

BITS = 10
BATCH = 10_000


class Spread(Struct):
    """Whole numbers from 0, as counts of buckets: exact below 1,024, else to 3 digits.

    The least, the greatest and the sum are exact.
    """

    count: int = 0
    sum: int = 0
    least: int = 0
    greatest: int = 0
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, number: int) -> None:
        shift = max(0, number.bit_length() - BITS)
        self.buckets[number >> shift << shift] += 1
        self.least = min(self.least, number) if self.count else number
        self.greatest = max(self.greatest, number)
        self.count += 1
        self.sum += number

    def quantile(self, share: float) -> int:
        """The smallest number that at least this share of all do not exceed; 0 where none are."""
        left = share * self.count
        for number in sorted(self.buckets):
            left -= self.buckets[number]
            if left <= 0:
                return max(number, self.least)
        return self.greatest

    def doubling(self) -> Iterator[tuple[int, int, int]]:
        """Counts of 0, 1, 2 to 3, 4 to 7 and so on, from the least to the greatest."""
        counts: Counter[int] = Counter()
        for number, count in self.buckets.items():
            counts[number.bit_length()] += count
        for bits in range(min(counts, default=0), max(counts, default=-1) + 1):
            yield 1 << bits - 1 if bits else 0, (1 << bits) - 1, counts[bits]

    def summary(self) -> dict[str, int]:
        return {
            "min": self.least,
            "median": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "max": self.greatest,
        }


class Seen:
    """Digests of 128 bits in a temporary index on disk."""

    def __init__(self) -> None:
        self._distinct = 0
        self._held: list[tuple[bytes]] = []
        self._database = scratch()
        self._database.execute("PRAGMA cache_size = -65536")
        self._database.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")

    def note(self, *values: Any) -> None:
        """Add what some values hold."""
        self.add(xxh3_128_digest(repr(values).encode("utf-8", "surrogatepass")))

    @property
    def distinct(self) -> int:
        """How many different ones there were."""
        self._flush()
        return self._distinct

    def add(self, digest: bytes) -> None:
        self._held.append((digest,))
        if len(self._held) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        self._held.sort()  # the index is then written from one end to the other
        self._database.execute("BEGIN")
        done = self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?)", self._held)
        self._database.execute("COMMIT")
        self._distinct += done.rowcount
        self._held.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._database.close()
