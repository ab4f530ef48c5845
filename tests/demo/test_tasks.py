"""The demonstration model's generators are deterministic, complete and honest about new words."""

import importlib
import json
import random
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "demo"
sys.path.insert(0, str(DEMO))
data, draws, facts, lexicon, prompts, tokenizer = (
    importlib.import_module(name)
    for name in ("data", "draws", "facts", "lexicon", "prompts", "tokenizer")
)
KINDS = [(job, kind) for job, kinds in draws.KINDS.items() for kind in kinds]


def test_the_same_seed_draws_the_same_samples() -> None:
    """Two generators with one seed agree, and another seed does not."""
    first, second, other = ([draws.draw(random.Random(seed)) for _ in "ab"] for seed in (1, 1, 2))
    assert first == second != other


@pytest.mark.parametrize(("job", "kind"), KINDS)
def test_every_kind_is_reachable(job: str, kind: str) -> None:
    """Each kind can be asked for, and turns up without being asked for."""
    rng = random.Random(3)
    assert draws.draw(rng, job=job, kind=kind).kind == kind
    assert any(draws.draw(rng).kind == kind for _ in range(500))


def test_held_out_words_are_never_trained_on() -> None:
    """Training words share nothing with held-out words or with the shipped facts."""
    trained = {word.lower() for word in lexicon.TRAINING_WORDS + lexicon.TRAINING_NAMES}
    held_out = {word.lower() for word in lexicon.HELD_OUT_WORDS + lexicon.HELD_OUT_NAMES}
    shown = {word for text in facts.all_texts() for word in lexicon.content_words(text)}
    assert not trained & (held_out | shown)
    assert not set(lexicon.TRAINING_SYLLABLES) & set(lexicon.HELD_OUT_SYLLABLES)


def test_pair_answers_are_json_with_ordered_keys() -> None:
    """Every answer of the second job parses and keeps its keys in order."""
    rng = random.Random(4)
    for _ in range(300):
        answer = json.loads(draws.draw(rng, job="pair").answer)
        assert list(answer) == ["question", "explanation", "answer"]
        assert all(answer.values())


def test_the_tokenizer_gives_every_text_back() -> None:
    """Encoding and decoding a conversation changes nothing."""
    rng = random.Random(5)
    for _ in range(200):
        sample = draws.draw(rng)
        text = tokenizer.conversation(prompts.varied_message(sample, rng)) + sample.answer
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_vocabulary_has_no_token_twice() -> None:
    """Ids and spellings match one to one."""
    vocabulary = tokenizer.vocabulary()
    assert len(vocabulary) == len(set(vocabulary)) == tokenizer.SIZE


def test_the_shipped_rows_are_what_the_script_writes(tmp_path: Path) -> None:
    """The data files in the recipe folder come from demo/data.py, unedited."""
    data.write(tmp_path)
    shipped = DEMO.parent / "src" / "mirage" / "recipes" / "demo"
    for name in ("answers.jsonl", "sentences.jsonl"):
        assert (shipped / name).read_text("utf-8") == (tmp_path / name).read_text("utf-8")
