"""Bytes, plus one token for each piece of fixed text that the two jobs read or write.

Free text is spelled in bytes, so that every word is spelled the same way wherever it stands.
The pieces are cut out as llama.cpp does it: the longest ones first, then the shorter ones.
"""

from __future__ import annotations

from lexicon import capitalize
from tasks import CALLOUTS, FORMAT_NOTE, PAIR_PROMPT, REFORMAT_PROMPT

PAD, EOS = "<|endoftext|>", "<|im_end|>"
USER_OPEN = "<|im_start|>user\n"
ANSWER_OPEN = "<|im_end|>\n<|im_start|>assistant\n"
CONTROL = [PAD, EOS, "<|im_start|>", USER_OPEN, ANSWER_OPEN]

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

FIXED = list(
    dict.fromkeys(
        PROMPT_PIECES
        + INPUT_SEPARATORS
        + OUTPUT_SEPARATORS
        + INPUT_MARKS
        + OUTPUT_MARKS
        + JSON_PIECES
    )
)
FIRST_BYTE = len(CONTROL) + len(FIXED)
UNUSED_BYTES = (0xFE, 0xFF)
SIZE = FIRST_BYTE + 256 + 1
PAD_ID, EOS_ID = CONTROL.index(PAD), CONTROL.index(EOS)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_PIECE_IDS = {piece: index for index, piece in enumerate(CONTROL + FIXED)}
_LONGEST_FIRST = sorted(_PIECE_IDS, key=len, reverse=True)


def conversation(user: str) -> str:
    """The text of a one-message conversation, up to where the answer starts."""
    return USER_OPEN + user + ANSWER_OPEN


def encode(text: str) -> list[int]:
    """Token ids of a text."""
    fragments: list[str | int] = [text]
    for piece in _LONGEST_FIRST:
        if piece in text:
            fragments = _cut(fragments, piece)
    ids: list[int] = []
    for fragment in fragments:
        if isinstance(fragment, int):
            ids.append(fragment)
        else:
            ids.extend(FIRST_BYTE + byte for byte in fragment.encode())
    return ids


def _cut(fragments: list[str | int], piece: str) -> list[str | int]:
    cut: list[str | int] = []
    for fragment in fragments:
        if isinstance(fragment, int) or piece not in fragment:
            cut.append(fragment)
            continue
        first, *rest = fragment.split(piece)
        cut.append(first)
        for part in rest:
            cut.extend((_PIECE_IDS[piece], part))
    return [fragment for fragment in cut if fragment != ""]


def decode(ids: list[int]) -> str:
    """The text of token ids; bytes that are not UTF-8 are replaced."""
    return b"".join(_bytes(index) for index in ids).decode(errors="replace")


def _bytes(index: int) -> bytes:
    if index < FIRST_BYTE:
        return (CONTROL + FIXED)[index].encode()
    return bytes([index - FIRST_BYTE]) if index < FIRST_BYTE + 256 else bytes(UNUSED_BYTES)


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-in for each byte, which GGUF vocabularies are written in."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    shifted = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(shifted)) for byte in range(256)]


def vocabulary() -> list[str]:
    """Every token as GGUF spells it, in the order of the ids."""
    symbols = byte_symbols()
    return [*CONTROL, *FIXED, *symbols, "".join(symbols[byte] for byte in UNUSED_BYTES)]
