"""The vocabulary of the text model: bytes, and the fixed text that its two jobs read or write."""

from __future__ import annotations

from lexicon import capitalize
from pieces import ANSWER_OPEN, CONTROL, EOS, PAD, USER_OPEN, Pieces
from tasks import CALLOUTS, FORMAT_NOTE, PAIR_PROMPT, REFORMAT_PROMPT

PROMPT_PIECES = [REFORMAT_PROMPT, PAIR_PROMPT, FORMAT_NOTE]
INPUT_SEPARATORS = ["; ", ", ", " = ", " | ", ", then ", ", finally "]
INPUT_SEPARATORS += [f" {n}{mark} " for n in "1234" for mark in ")."]
OUTPUT_SEPARATORS = ["\n- ", "\n- **", "**: ", *(f"\n{n}. " for n in "234")]
INPUT_MARKS = ["q: ", " a: ", "Q: ", "? A: ", "question - ", "; answer - ", "question: "]
INPUT_MARKS += [" answer: ", ": ", " - ", "first "]
INPUT_MARKS += [label + mark for label in CALLOUTS for mark in (" - ", ": ")]
INPUT_MARKS += [" because ", ", since ", ", as ", " is used for ", " causes ", " consists of "]
INPUT_MARKS += [" is ", " was ", " about "]
OUTPUT_MARKS = ["**Question:** ", "?\n\n**Answer:** ", "# ", "## ", "- **", "**", ":**\n\n- "]
OUTPUT_MARKS += ["\n\n- ", "\n\n1. ", "1. ", ".\n\n> **", "- "]
OUTPUT_MARKS += [f"> **{capitalize(label)}:** " for label in CALLOUTS]
OUTPUT_MARKS += [f".\n\n> **{capitalize(label)}:** " for label in CALLOUTS]
ASKED = ["What is ", "What is the ", "What does ", "What happens if ", "What is this ", "Who "]
ASKED += ["Where do ", "Why is ", "What does the text say"]
JSON_PIECES = ['{"question": "' + asked for asked in ASKED]
JSON_PIECES += ['{"question": "', '?", "explanation": "', '", "explanation": "']
JSON_PIECES += ['.", "answer": "', '.", "answer": "In ', '.", "answer": "Because ']
JSON_PIECES += ['", "answer": "', '"}', '."}', " used for"]

TOKENS = Pieces(
    PROMPT_PIECES + INPUT_SEPARATORS + OUTPUT_SEPARATORS + INPUT_MARKS + OUTPUT_MARKS + JSON_PIECES
)
FIRST_BYTE, SIZE = TOKENS.first_byte, TOKENS.size
PAD_ID, EOS_ID = CONTROL.index(PAD), CONTROL.index(EOS)
encode, decode, vocabulary = TOKENS.encode, TOKENS.decode, TOKENS.vocabulary


def conversation(user: str) -> str:
    """The text of a one-message conversation, up to where the answer starts."""
    return USER_OPEN + user + ANSWER_OPEN
