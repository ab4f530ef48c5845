"""The user message around a sample: the exact prompts of the recipes, and variations of them."""

from __future__ import annotations

import random

from draws import draw
from tasks import FORMAT_NOTE, JOBS, PAIR_PROMPT, REFORMAT_PROMPT, Sample

PROMPTS = {"reformat": REFORMAT_PROMPT, "pair": PAIR_PROMPT}
OTHER_PROMPTS = {
    "reformat": (
        "Reformat the answer in a Markdown format without adding anything else:\n",
        "Reformat this answer in Markdown:\n",
        "Rewrite the following answer as Markdown.\n\n",
        "Format this text as markdown, and add nothing:\n",
    ),
    "pair": (
        "Generate a Q/A pair from the following text:\n",
        "Make a question, an explanation and an answer from this text:\n",
        "Write a question and its answer about this sentence.\n\n",
        "I want to generate a question and an answer from this text:\n",
    ),
}
OTHER_NOTES = (
    '\nAnswer with a JSON object with the keys "question", "explanation", "answer", in this order.',
    "\nAnswer with one JSON object.",
    "\nReply in JSON only.",
)


def recipe_message(sample: Sample, note: bool = False) -> str:
    """The message exactly as the shipped recipes write it."""
    message = f"{PROMPTS[sample.job]}{sample.text}\n"
    return f"{message}{FORMAT_NOTE}\n" if note and sample.job == "pair" else message


def varied_message(sample: Sample, rng: random.Random) -> str:
    """A message for training: mostly the recipe's, with other wordings and endings mixed in."""
    prompt = PROMPTS[sample.job]
    if rng.random() < 0.1:
        prompt = rng.choice(OTHER_PROMPTS[sample.job])
    message = prompt + sample.text + ("\n" if rng.random() < 0.8 else "")
    if sample.job == "pair" and rng.random() < 0.5:
        message += FORMAT_NOTE if rng.random() < 0.8 else rng.choice(OTHER_NOTES)
        message += rng.choice(("\n", "\n", ""))
    return message


def held_out(count: int, seed: int) -> list[tuple[str, Sample]]:
    """Messages and samples of held-out words: half of each job, half of the pairs with a note."""
    rng = random.Random(seed)
    samples = [draw(rng, True, JOBS[index % 2]) for index in range(count)]
    return [(recipe_message(sample, rng.random() < 0.5), sample) for sample in samples]
