"""Random samples of both jobs: every kind, from the words of training or from held-out words."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import tasks
from lexicon import Words, capitalize, word_list
from tasks import Sample

ATTRIBUTES = word_list("""
capital color size price name purpose origin cause treatment language owner speed weight shape
symbol population currency length temperature age
""")
MAKING = word_list("""
founded discovered invented painted designed built described opened composed
""")
DOING = word_list("""
founded discovered invented painted wrote designed built described opened won visited left
reached joined bought sold lost found crossed saved measured published
""")
LIVING = ("live", "grow", "work", "sleep", "hunt")
MEDIA = ("article", "book", "report", "text", "story", "paper")
ASKING = (
    "what is",
    "what are",
    "how does",
    "why do",
    "why does",
    "who made",
    "where is",
    "when is",
    "how do",
    "which",
    "can",
    "is",
    "do",
)


def _items(words: Words, least: int = 1, most: int = 3) -> list[str]:
    items = [_item(words, least, most) for _ in range(words.rng.randint(2, 4))]
    if words.rng.random() < words.repeats:
        items[-1] = words.variation(items[-2])
    return items


def _item(words: Words, least: int, most: int) -> str:
    chance = words.rng.random()
    if chance < 0.1:
        return words.name() if chance < 0.05 else words.code()
    return words.clause(least, most) if chance < 0.5 else words.phrase(least, most)


def _draw_question(words: Words) -> Sample:
    rng = words.rng
    ask = f"{rng.choice(ASKING)} {words.clause(1, 4)}"
    if rng.random() < 0.08:
        ask = f"what is {words.thing()} used for"
    reply = words.clause(1, 5)
    if rng.random() < 0.1:
        reply = f"{words.phrase(1, 2)}, {words.clause(1, 3)}"
    return tasks.question(ask, reply, rng.choice(tasks.QUESTION_STYLES))


def _draw_callout(words: Words) -> Sample:
    labels = words.rng.sample(tasks.CALLOUTS, words.rng.randint(1, 2))
    remarks = [(label, words.clause(2, 5)) for label in labels]
    return tasks.callout(remarks, words.rng.choice((" - ", ": ")))


def _draw_shouted(words: Words) -> Sample:
    title = words.phrase(1, 3).lower()
    return tasks.shouted(title, _items(words), words.rng.choice((": ", "\n")))


def _draw_numbered(words: Words) -> Sample:
    rng = words.rng
    title = ("how to " if rng.random() < 0.5 else "") + words.phrase(1, 3)
    return tasks.numbered(title, _items(words), rng.choice((")", ".")), rng.choice((":", "")))


def _draw_glossary(words: Words) -> Sample:
    count = words.rng.randint(2, 3)
    terms = [words.phrase(1, 2) for _ in range(count)]
    meanings = [words.clause(1, 4) for _ in range(count)]
    if words.rng.random() < 2 * words.repeats:
        meanings[1] = words.variation(meanings[0])
    entries = list(zip(terms, meanings, strict=True))
    return tasks.glossary(entries, words.rng.choice((" | ", "; ")))


def _draw_plain(words: Words) -> Sample:
    if words.rng.random() < 0.3:
        return tasks.plain(words.rng.choice(list(PAIR_KINDS.values()))(words).text)
    sentence = words.clause(3, 7)
    return tasks.plain(
        words.rng.choice((sentence, capitalize(sentence), capitalize(sentence) + "."))
    )


def _link(words: Words) -> str:
    return words.rng.choice((" because ", " because ", ", since ", ", as "))


def _place_name(words: Words) -> str:
    return words.name() if words.rng.random() < 0.5 else words.thing()


def _draw_attribute(words: Words) -> Sample:
    name = words.rng.choice(ATTRIBUTES)
    of, value = _place_name(words), _place_name(words)
    return tasks.attribute(name, of, value, words.clause(2, 5), _link(words))


def _draw_maker(words: Words) -> Sample:
    verb = words.rng.choice(MAKING)
    return tasks.maker(words.thing(), verb, words.person(), words.year())


def _draw_parts(words: Words) -> Sample:
    article = words.rng.choice(("", "", "the "))
    members = [article + words.phrase(1, 2) for _ in range(words.rng.randint(2, 4))]
    return tasks.parts(words.thing(), members)


def _draw_place(words: Words) -> Sample:
    verb = words.rng.choice(LIVING)
    return tasks.place(words.thing(), verb, _place_name(words), words.clause(2, 5), _link(words))


def _draw_subject(words: Words) -> Sample:
    rng = words.rng
    adjective = ("very " if rng.random() < 0.5 else "") + words.word()
    return tasks.subject(
        adjective, rng.choice(MEDIA), words.phrase(1, 3), rng.choice((".", ".", ""))
    )


Draw = Callable[[Words], Sample]
REFORMAT_KINDS: dict[str, Draw] = {
    "question": _draw_question,
    "callout": _draw_callout,
    "shouted": _draw_shouted,
    "topic": lambda words: tasks.topic(words.phrase(1, 3), _items(words)),
    "numbered": _draw_numbered,
    "sequence": lambda words: tasks.sequence(_items(words)),
    "glossary": _draw_glossary,
    "plain": _draw_plain,
}
PAIR_KINDS: dict[str, Draw] = {
    "attribute": _draw_attribute,
    "event": lambda words: tasks.event(
        words.year(), words.person(), f"{words.rng.choice(DOING)} {words.thing()}"
    ),
    "use": lambda words: tasks.use(
        words.thing(), words.phrase(1, 3), words.clause(2, 5), _link(words)
    ),
    "cause": lambda words: tasks.cause(
        words.thing(), words.thing(), words.clause(2, 5), _link(words)
    ),
    "maker": _draw_maker,
    "parts": _draw_parts,
    "place": _draw_place,
    "condition": lambda words: tasks.condition(words.clause(2, 4), words.clause(2, 4)),
    "reason": lambda words: tasks.reason(
        words.thing(), words.phrase(1, 2), words.clause(2, 5), _link(words)
    ),
    "subject": _draw_subject,
    "statement": lambda words: tasks.statement(words.clause(3, 6)),
}
KINDS = {"reformat": REFORMAT_KINDS, "pair": PAIR_KINDS}


def draw(rng: random.Random, held_out: bool = False, job: str = "", kind: str = "") -> Sample:
    """Draw one sample, of any job and kind unless they are given."""
    kinds = KINDS[job or rng.choice(tasks.JOBS)]
    sample = kinds[kind or rng.choice(list(kinds))](Words(rng, held_out))
    if sample.job == "pair" and rng.random() < 0.06:
        return replace(sample, text=sample.text.removesuffix("."))
    return sample
