"""How much of what, and in which order."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mirage.mixture.sampling import batches, draw, spaced, square_roots

COUNTS = st.integers(0, 60)


@given(st.integers(1, 60), st.none() | COUNTS)
def test_a_draw_takes_every_number_as_often_as_it_can(length: int, count: int | None) -> None:
    """None of them more than once oftener than another."""
    drawn = draw(length, count, "seed")
    assert len(drawn) == (length if count is None else count)
    times = Counter(drawn)
    assert {*times} <= {*range(length)}
    assert {times[n] for n in range(length)} <= {len(drawn) // length, len(drawn) // length + 1}
    assert drawn == draw(length, count, "seed")


def test_all_are_in_their_own_order_and_more_follow() -> None:
    assert draw(4, None, "s").tolist() == [0, 1, 2, 3]
    assert draw(4, 10, "s").tolist()[:8] == [0, 1, 2, 3, 0, 1, 2, 3]


def test_another_seed_draws_others() -> None:
    assert draw(1_000, 10, "a") != draw(1_000, 10, "b")


def test_nothing_can_be_drawn_of_nothing() -> None:
    assert not draw(0, None, "s")
    assert not draw(0, 5, "s")


@given(st.lists(COUNTS, min_size=1, max_size=8))
def test_square_roots_keep_the_total(counts: list[int]) -> None:
    made = square_roots(counts)
    assert sum(made) == sum(counts)
    ordered = sorted(zip(counts, made, strict=True))
    assert all(more >= less - 1 for (_, less), (_, more) in pairwise(ordered))
    assert not any(n for n, count in zip(made, counts, strict=True) if not count)


def test_square_roots_flatten_the_shares() -> None:
    assert square_roots([100, 400, 900]) == [233, 467, 700]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(1, 7), st.booleans())
def test_an_epoch_has_every_number_once_in_batches_of_one_group(
    lengths: list[int], size: int, whole: bool
) -> None:
    groups: dict[str, range] = {}
    for at, length in enumerate(lengths):
        start = sum(lengths[:at])
        groups[str(at)] = range(start, start + length)
    made = [batch.tolist() for batch in batches(groups, size, "seed", whole=whole)]
    for batch in made:
        assert sum(bool({*batch} & {*numbers}) for numbers in groups.values()) == 1
        assert len(batch) <= size
    seen = sorted(number for batch in made for number in batch)
    if whole:
        assert len(seen) == len({*seen}) == sum(n // size * size for n in lengths)
    else:
        assert seen == [*range(sum(lengths))]


def test_a_batch_is_of_a_group_as_often_as_the_group_is_long() -> None:
    """Among the first batches of many epochs."""
    groups = {"long": range(0, 300), "short": range(300, 400)}
    first = [next(batches(groups, 10, f"0/{epoch}"))[0] < 300 for epoch in range(400)]
    assert 0.68 < sum(first) / 400 < 0.82


def test_epochs_differ_and_repeat() -> None:
    def order(seed: str) -> list[int]:
        return [n for batch in batches({"a": range(50)}, 5, seed) for n in batch]

    assert order("0/1") == order("0/1")
    assert order("0/1") != order("0/2")


def test_frames_are_evenly_spaced() -> None:
    assert spaced(3, 6) == [0, 0, 0, 1, 1, 2]
    assert spaced(32, 32) == [*range(32)]
    assert spaced(1, 3) == [0, 0, 0]
    assert spaced(9, 1) == [0]


@given(st.integers(1, 500), st.integers(2, 64))
def test_frames_begin_with_the_first_and_end_with_the_last(length: int, count: int) -> None:
    found = spaced(length, count)
    assert (found[0], found[-1], len(found)) == (0, length - 1, count)
    assert found == sorted(found)
