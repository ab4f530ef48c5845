"""The two jobs of the demonstration model: every bad input has exactly one right answer.

Builders turn the parts of a sample into its text and its answer. The generators call them with
random parts, and the shipped demonstration data calls them with hand-written facts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from lexicon import capitalize

REFORMAT_PROMPT = "Reformat the answer in a markdown format without adding anything else:\n"
PAIR_PROMPT = "I want to generate Q/A pairs from the following text:\n"
FORMAT_NOTE = (
    "\nAnswer with one JSON object that has exactly these keys, in this order: "
    '"question" (string), "explanation" (string), "answer" (string).'
)
JOBS = ("reformat", "pair")


@dataclass(frozen=True)
class Sample:
    """One training or evaluation sample, without the instruction around it."""

    job: str
    kind: str
    text: str
    answer: str


def _reformat(kind: str, text: str, answer: str) -> Sample:
    return Sample("reformat", kind, text, answer)


def _bullets(items: list[str]) -> str:
    return "\n".join("- " + capitalize(item) for item in items)


def _numbers(items: list[str]) -> str:
    return "\n".join(f"{n}. {capitalize(item)}" for n, item in enumerate(items, 1))


QUESTION_STYLES = (
    "q: {q} a: {a}",
    "Q: {Q}? A: {A}.",
    "question - {q}; answer - {a}",
    "question: {q} answer: {a}",
)


def question(ask: str, reply: str, style: str = QUESTION_STYLES[0]) -> Sample:
    """A question and its answer squeezed into one line."""
    text = style.format(q=ask, a=reply, Q=capitalize(ask), A=capitalize(reply))
    answer = f"**Question:** {capitalize(ask)}?\n\n**Answer:** {capitalize(reply)}."
    return _reformat("question", text, answer)


CALLOUTS = ("note", "tip", "warning", "important", "hint")


def callout(remarks: list[tuple[str, str]], mark: str = " - ") -> Sample:
    """Remarks such as `note - ...; warning - ...` that should be block quotes."""
    text = "; ".join(label + mark + remark for label, remark in remarks)
    quotes = [f"> **{capitalize(label)}:** {capitalize(remark)}." for label, remark in remarks]
    return _reformat("callout", text, "\n\n".join(quotes))


def shouted(title: str, items: list[str], mark: str = ": ") -> Sample:
    """A title in capitals, then a list on the same line."""
    text = title.upper() + mark + "; ".join(items)
    return _reformat("shouted", text, f"# {capitalize(title)}\n\n{_bullets(items)}")


def topic(title: str, items: list[str]) -> Sample:
    """A topic, a colon and a list on one line."""
    text = f"{title}: " + "; ".join(items)
    return _reformat("topic", text, f"**{capitalize(title)}:**\n\n{_bullets(items)}")


def numbered(title: str, items: list[str], mark: str = ")", colon: str = ":") -> Sample:
    """A heading followed by steps numbered within the line."""
    steps = " ".join(f"{n}{mark} {item}" for n, item in enumerate(items, 1))
    answer = f"## {capitalize(title)}\n\n{_numbers(items)}"
    return _reformat("numbered", f"{title}{colon} {steps}", answer)


def sequence(items: list[str]) -> Sample:
    """Steps told as `first ..., then ..., finally ...`."""
    words = ["first"] + ["then"] * (len(items) - 2) + ["finally"]
    text = ", ".join(f"{word} {item}" for word, item in zip(words, items, strict=True))
    return _reformat("sequence", text, _numbers(items))


def glossary(entries: list[tuple[str, str]], mark: str = " | ") -> Sample:
    """Terms and their meaning as `term = meaning` on one line."""
    text = mark.join(f"{term} = {meaning}" for term, meaning in entries)
    lines = [f"- **{capitalize(term)}**: {capitalize(meaning)}" for term, meaning in entries]
    return _reformat("glossary", text, "\n".join(lines))


def plain(sentence: str) -> Sample:
    """A plain sentence has nothing to reformat: only its capital letter and full stop."""
    return _reformat("plain", sentence, capitalize(sentence.removesuffix(".")) + ".")


def _pair(kind: str, text: str, ask: str, why: str, reply: str) -> Sample:
    parts = {"question": ask, "explanation": why, "answer": capitalize(reply)}
    return Sample("pair", kind, text, json.dumps(parts, ensure_ascii=False))


def _because(claim: str, link: str, reason: str) -> tuple[str, str]:
    return f"{capitalize(claim)}{link}{reason}.", capitalize(reason) + "."


LINKS = (" because ", ", since ", ", as ")


def attribute(name: str, of: str, value: str, reason: str, link: str = LINKS[0]) -> Sample:
    """`The capital of X is Y because ...`"""
    text, why = _because(f"the {name} of {of} is {value}", link, reason)
    return _pair("attribute", text, f"What is the {name} of {of}?", why, value)


def event(year: str, who: str, did: str) -> Sample:
    """`In 1610, X discovered Y.`"""
    text = f"In {year}, {who} {did}."
    return _pair("event", text, f"Who {did} in {year}?", text, who)


def use(thing: str, purpose: str, reason: str, link: str = LINKS[0]) -> Sample:
    """`X is used for Y because ...`"""
    text, why = _because(f"{thing} is used for {purpose}", link, reason)
    return _pair("use", text, f"What is {thing} used for?", why, purpose)


def cause(thing: str, effect: str, reason: str, link: str = LINKS[0]) -> Sample:
    """`X causes Y because ...`"""
    text, why = _because(f"{thing} causes {effect}", link, reason)
    return _pair("cause", text, f"What does {thing} cause?", why, effect)


def maker(thing: str, verb: str, who: str, year: str) -> Sample:
    """`X was invented by Y in 1440.`"""
    text = f"{capitalize(thing)} was {verb} by {who} in {year}."
    return _pair("maker", text, f"Who {verb} {thing}?", f"{who} {verb} {thing} in {year}.", who)


def parts(thing: str, members: list[str]) -> Sample:
    """`X consists of a, b and c.`"""
    listed = ", ".join(members[:-1]) + " and " + members[-1]
    text = f"{capitalize(thing)} consists of {listed}."
    return _pair("parts", text, f"What does {thing} consist of?", text, listed)


def place(who: str, verb: str, where: str, reason: str, link: str = LINKS[0]) -> Sample:
    """`Xs live in Y because ...`"""
    text, why = _because(f"{who} {verb} in {where}", link, reason)
    return _pair("place", text, f"Where do {who} {verb}?", why, f"in {where}")


def condition(case: str, outcome: str) -> Sample:
    """`If X, Y.`"""
    text = f"If {case}, {outcome}."
    return _pair("condition", text, f"What happens if {case}?", text, outcome)


def reason(thing: str, state: str, why: str, link: str = LINKS[0]) -> Sample:
    """`X is Y because ...`"""
    text, _ = _because(f"{thing} is {state}", link, why)
    return _pair("reason", text, f"Why is {thing} {state}?", text, f"because {why}")


def subject(adjective: str, medium: str, about: str, stop: str = ".") -> Sample:
    """`This is a very interesting article about X.`"""
    text = f"This is a {adjective} {medium} about {about}"
    return _pair("subject", text + stop, f"What is this {medium} about?", text + ".", about)


def statement(sentence: str) -> Sample:
    """Any other sentence is repeated under a general question."""
    text = capitalize(sentence) + "."
    return _pair("statement", text, "What does the text say?", text, text)
