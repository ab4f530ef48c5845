"""Numbers and digests counted in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirage.dataset.spread import BATCH, Seen, Spread


@given(st.lists(st.integers(0, 10**12), min_size=1), st.floats(0, 1))
def test_a_quantile_is_right_to_three_digits(numbers: list[int], share: float) -> None:
    """And below 1,024 to the last one."""
    spread = Spread()
    for number in numbers:
        spread.add(number)
    ordered = sorted(numbers)
    at = next(n for n in range(len(ordered)) if n + 1 >= share * len(ordered))
    found = spread.quantile(share)
    assert found <= ordered[at] <= found * 1.002
    assert (spread.least, spread.greatest, spread.sum) == (min(numbers), max(numbers), sum(numbers))


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_a_histogram_counts_every_number_once(numbers: list[int]) -> None:
    spread = Spread()
    for number in numbers:
        spread.add(number)
    bins = [*spread.doubling()]
    assert [count for *_, count in bins] == [
        sum(low <= number <= high for number in numbers) for low, high, _ in bins
    ]
    assert sum(count for *_, count in bins) == len(numbers)


def test_a_million_numbers_take_few_buckets() -> None:
    spread = Spread()
    for number in range(0, 10**9, 1_000):
        spread.add(number)
    assert len(spread.buckets) < 12_000


def test_what_was_seen_before_is_known_across_batches() -> None:
    with Seen() as seen:
        for number in [*range(BATCH + 5), *range(BATCH + 5), 0]:
            seen.note(number)
        assert seen.distinct == BATCH + 5
