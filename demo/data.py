"""Write the shipped demonstration data from the hand-written facts: `python data.py FOLDER`.

FOLDER gets answers.jsonl (conversations whose answers are badly formatted) and sentences.jsonl
(one sentence per row). `samples` also tells what the right output of each row is.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import tasks
from facts import rows
from lexicon import capitalize
from tasks import Sample

SEED = 7
ROWS = 200
Entry = TypeVar("Entry")
Asked = tuple[str, Sample]
Build = Callable[[list[str], random.Random], Asked]


def _pairs(cells: list[str]) -> list[tuple[str, str]]:
    return list(zip(cells[::2], cells[1::2], strict=True))


def _question(cells: list[str], rng: random.Random) -> Asked:
    sample = tasks.question(cells[0], cells[1], rng.choice(tasks.QUESTION_STYLES))
    return capitalize(cells[0]) + "?", sample


def _callout(cells: list[str], rng: random.Random) -> Asked:
    request = f"What should I know about {cells[0]}?"
    return request, tasks.callout(_pairs(cells[1:]), rng.choice((" - ", ": ")))


def _shouted(cells: list[str], rng: random.Random) -> Asked:
    request = f"Give me a short list: {cells[0]}."
    return request, tasks.shouted(cells[0], cells[1:], rng.choice((": ", "\n")))


def _topic(cells: list[str], rng: random.Random) -> Asked:
    return f"Please list some {cells[0]}.", tasks.topic(cells[0], cells[1:])


def _numbered(cells: list[str], rng: random.Random) -> Asked:
    request = f"Explain {cells[0]}."
    mark, colon = rng.choice((")", ".")), rng.choice((":", ""))
    return request, tasks.numbered(cells[0], cells[1:], mark, colon)


def _sequence(cells: list[str], rng: random.Random) -> Asked:
    return f"How do I {cells[0]}?", tasks.sequence(cells[1:])


def _glossary(cells: list[str], rng: random.Random) -> Asked:
    terms = cells[::2]
    request = f"What do {', '.join(terms[:-1])} and {terms[-1]} mean?"
    return request, tasks.glossary(_pairs(cells), rng.choice((" | ", "; ")))


def _plain(cells: list[str], rng: random.Random) -> Asked:
    sentence = rng.choice((cells[1], capitalize(cells[1])))
    return cells[0], tasks.plain(sentence)


ANSWERS: dict[str, Build] = {
    "question": _question,
    "callout": _callout,
    "shouted": _shouted,
    "topic": _topic,
    "numbered": _numbered,
    "sequence": _sequence,
    "glossary": _glossary,
    "plain": _plain,
}
LINKED: dict[str, Callable[..., Sample]] = {
    "attribute": tasks.attribute,
    "use": tasks.use,
    "cause": tasks.cause,
    "place": tasks.place,
    "reason": tasks.reason,
}
UNLINKED: dict[str, Callable[..., Sample]] = {
    "event": tasks.event,
    "maker": tasks.maker,
    "condition": tasks.condition,
    "subject": tasks.subject,
    "statement": tasks.statement,
}


def sentence(kind: str, cells: list[str], rng: random.Random) -> Sample:
    """One sentence out of the parts of a fact."""
    if kind == "parts":
        return tasks.parts(cells[0], cells[1:])
    if kind in LINKED:
        return LINKED[kind](*cells, link=rng.choice(tasks.LINKS))
    return UNLINKED[kind](*cells)


def answers(rng: random.Random) -> list[Asked]:
    """Requests and badly formatted answers, each fact in up to two of its forms."""
    found: dict[str, Asked] = {}
    for _ in range(2):
        for kind, build in ANSWERS.items():
            for cells in rows(kind):
                asked = build(cells, rng)
                found.setdefault(asked[1].text, asked)
    return _mixed(list(found.values()), rng)


def sentences(rng: random.Random) -> list[Sample]:
    """Sentences, each fact in up to two of its forms."""
    found: dict[str, Sample] = {}
    for _ in range(2):
        for kind in [*LINKED, "parts", *UNLINKED]:
            for cells in rows(kind):
                sample = sentence(kind, cells, rng)
                found.setdefault(sample.text, sample)
    return _mixed(list(found.values()), rng)


def _mixed(entries: list[Entry], rng: random.Random) -> list[Entry]:
    if len(entries) < ROWS:
        raise ValueError(f"{len(entries)} different rows are fewer than {ROWS}")
    return rng.sample(entries, ROWS)


def conversation(request: str, sample: Sample) -> dict[str, Any]:
    """One row of answers.jsonl."""
    turns = [
        {"role": "user", "content": request},
        {"role": "assistant", "content": sample.text},
    ]
    return {"conversations": turns, "modalities": []}


def samples() -> list[Sample]:
    """The shipped rows with their right output."""
    rng = random.Random(SEED)
    return [sample for _, sample in answers(rng)] + sentences(rng)


def write(folder: Path) -> None:
    """Write both files."""
    rng = random.Random(SEED)
    tables: dict[str, list[dict[str, Any]]] = {
        "answers.jsonl": [conversation(*asked) for asked in answers(rng)],
        "sentences.jsonl": [{"text": sample.text} for sample in sentences(rng)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        lines = [json.dumps(entry, ensure_ascii=False) + "\n" for entry in table]
        (folder / name).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)
