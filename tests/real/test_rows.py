"""What is done to logits, and how rows become a batch: tensors alone, no model."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirage.engines.hf.config import Asked

torch = pytest.importorskip("torch", reason="make test-engines installs it")

from mirage.engines.hf.batches import joined, padded  # noqa: E402
from mirage.engines.hf.load import own_device  # noqa: E402
from mirage.engines.hf.rows import Chooser, Row, draw  # noqa: E402

NEVER = float("-inf")


def row(*ids: int, forced: tuple[int, ...] = (), **sampling: float) -> Row:
    given = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 0, **sampling}
    asked = Asked(
        temperature=given["temperature"],
        top_p=given["top_p"],
        top_k=int(given["top_k"]),
        limit=9,
        ignore_eos=False,
        seed=int(given["seed"]),
    )
    made = Row(ids=ids, asked=asked, ends=frozenset(), forced=forced)
    made.begin()
    return made


logits = st.lists(st.floats(-30, 30) | st.just(NEVER), min_size=2, max_size=20).filter(
    lambda values: max(values) > NEVER
)


@given(logits, st.integers(0, 50), st.floats(0.1, 1), st.integers(1, 30), st.floats(0.05, 20))
def test_a_draw_is_among_what_is_kept(
    values: list[float], seed: int, top_p: float, top_k: int, temperature: float
) -> None:
    """Never what a schema forbids, nor what top-k or top-p leaves out."""
    drawn = row(0, seed=seed, top_p=top_p, top_k=top_k, temperature=temperature)
    (token,) = draw(torch.tensor([values]), [drawn]).tolist()
    probs = (torch.tensor(values) / temperature).softmax(-1)
    likelier = probs[probs > probs[token]]
    assert values[token] > NEVER
    assert len(likelier) < top_k
    assert float(likelier.sum()) < top_p + 1e-5


def test_frequencies_are_the_models() -> None:
    """Over many draws, each token comes as often as its probability says."""
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05])
    rows = [row(0, seed=seed) for seed in range(4000)]
    found = Counter(draw(probs.log().repeat(len(rows), 1), rows).tolist())
    for token, prob in enumerate(probs.tolist()):
        assert abs(found[token] / len(rows) - prob) < 0.03


def test_a_forced_row_notes_the_probability() -> None:
    """And greedy rows beside it keep their logits."""
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]).log()
    forced, greedy = row(0, forced=(1,)), row(0)
    greedy.asked = Asked(0.0, 1.0, 0, 9, False, None)
    chosen = Chooser([forced, greedy])(torch.zeros(2, 1), scores.clone())
    assert chosen.argmax(-1).tolist() == [1, 2]
    assert abs(forced.logprob - torch.tensor(0.3).log().item()) < 1e-6
    assert torch.equal(chosen[1], scores[1])


def test_rows_are_filled_up_from_the_left() -> None:
    """Prompts end together; the mask says what counts."""
    batch = padded([row(5, 6, 7), row(8)], pad=9)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [9, 9, 8]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]


def test_pictures_follow_each_other() -> None:
    """Along the first dimension; what is smaller is filled up with zeros; types go with tokens."""
    one, two = torch.ones(1, 2, 3), torch.ones(2, 1, 4)
    both = joined("pixel_values", [{"pixel_values": one}, {"pixel_values": two}], 5)
    assert both.shape == (3, 2, 4) and both.sum() == one.sum() + two.sum()
    kinds = [{"mm_token_type_ids": torch.ones(1, n, dtype=torch.long)} for n in (2, 3)]
    filled = joined("mm_token_type_ids", kinds, 3)
    assert filled.tolist() == [[0, 1, 1], [1, 1, 1]]


def test_ranks_take_a_gpu_each() -> None:
    """The CPU where there is none; the first one for a process on its own."""
    assert [own_device(2, {"LOCAL_RANK": str(n)}) for n in range(3)] == [
        "cuda:0",
        "cuda:1",
        "cuda:0",
    ]
    assert own_device(4, {}) == "cuda:0"
    assert own_device(0, {"LOCAL_RANK": "1"}) == "cpu"
