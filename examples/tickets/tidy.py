"""The step that needs no model: blanks and repeated marks."""

import re


def tidy(text: str) -> str:
    return re.sub(r"([!?.])\1+", r"\1", " ".join(text.split()))
