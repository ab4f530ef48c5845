"""`choices:` of an llm output: the answers that a model decides among, and what it decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from mirage.errors import EngineError, TemplateError
from mirage.record import Completion
from mirage.template import Tree

CHOSEN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "choice": {"type": "string"},
        "index": {"type": "integer"},
        "logprobs": {"type": "array", "items": {"type": ["number", "null"]}},
    },
}
"""The value of such an output; its keys are variables."""


class Choices(Struct, frozen=True):
    """`tree` is the list as configured, or the reference to one."""

    tree: Tree

    def of(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The choices of one record. Raises TemplateError of kind "choices" where they are none."""
        found = self.tree.value(values)
        if not isinstance(found, list | tuple):
            raise TemplateError("choices", f"`choices` is no list but {type(found).__name__}")
        if problem := problem_of(found):
            raise TemplateError("choices", problem)
        return tuple(found)


def problem_of(choices: Sequence[Any]) -> str:
    """Why a model cannot decide among these; empty where it can."""
    for choice in choices:
        if not isinstance(choice, str):
            return f"a choice must be a text, not {type(choice).__name__}"
        if not choice.strip():
            return "a choice is empty"
    if len(choices) < 2:
        return f"at least two choices are needed, not {len(choices)}"
    if len({choice.strip() for choice in choices}) < len(choices):
        return "two choices are equal"
    return ""


def chosen(completion: Completion, choices: tuple[str, ...]) -> dict[str, Any]:
    """The value of the output. Raises EngineError for an answer that is none of the choices."""
    if completion.text not in choices:
        raise EngineError("choices", "the answer is none of the choices", raw=completion.text)
    return {
        "choice": completion.text,
        "index": choices.index(completion.text),
        "logprobs": list(completion.logprobs),
    }
