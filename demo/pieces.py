"""A vocabulary of bytes, and of one token for each piece of text that a model knows by heart.

Free text is spelled in bytes, so that every word is spelled the same way wherever it stands.
The pieces are cut out as llama.cpp does it: the longest ones first, then the shorter ones.
"""

from __future__ import annotations

PAD, EOS = "<|endoftext|>", "<|im_end|>"
USER_OPEN = "<|im_start|>user\n"
ANSWER_OPEN = "<|im_end|>\n<|im_start|>assistant\n"
CONTROL = [PAD, EOS, "<|im_start|>", USER_OPEN, ANSWER_OPEN]
UNUSED_BYTES = (0xFE, 0xFF)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-in for each byte, which GGUF vocabularies are written in."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    shifted = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(shifted)) for byte in range(256)]


class Pieces:
    """Control tokens, the fixed pieces, the 256 bytes, and one token that is not used."""

    def __init__(self, fixed: list[str]) -> None:
        self.fixed = list(dict.fromkeys(fixed))
        self.first_byte = len(CONTROL) + len(self.fixed)
        self.size = self.first_byte + 256 + 1
        self._ids = {piece: index for index, piece in enumerate(CONTROL + self.fixed)}
        self._longest_first = sorted(self._ids, key=len, reverse=True)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        fragments: list[str | int] = [text]
        for piece in self._longest_first:
            if piece in text:
                fragments = self._cut(fragments, piece)
        ids: list[int] = []
        for fragment in fragments:
            if isinstance(fragment, int):
                ids.append(fragment)
            else:
                ids.extend(self.first_byte + byte for byte in fragment.encode())
        return ids

    def _cut(self, fragments: list[str | int], piece: str) -> list[str | int]:
        cut: list[str | int] = []
        for fragment in fragments:
            if isinstance(fragment, int) or piece not in fragment:
                cut.append(fragment)
                continue
            first, *rest = fragment.split(piece)
            cut.append(first)
            for part in rest:
                cut.extend((self._ids[piece], part))
        return [fragment for fragment in cut if fragment != ""]

    def decode(self, ids: list[int]) -> str:
        """The text of token ids; bytes that are not UTF-8 are replaced."""
        return b"".join(self._bytes(index) for index in ids).decode(errors="replace")

    def _bytes(self, index: int) -> bytes:
        if index < self.first_byte:
            return (CONTROL + self.fixed)[index].encode()
        byte = index - self.first_byte
        return bytes([byte]) if byte < 256 else bytes(UNUSED_BYTES)

    def vocabulary(self) -> list[str]:
        """Every token as GGUF spells it, in the order of the ids."""
        symbols = byte_symbols()
        last = "".join(symbols[byte] for byte in UNUSED_BYTES)
        return [*CONTROL, *self.fixed, *symbols, last]
