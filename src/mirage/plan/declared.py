"""What a configuration declares: its variables, and the templates over them.

All mistakes are collected, each at its position, and raised together by `plan.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import Struct

from mirage.config import Config, Loaded, SchemaMistake, answer_schema, keys
from mirage.config.models import LLMOutput
from mirage.errors import ConfigError, Mistake
from mirage.places import Place, place
from mirage.steps.choices import CHOSEN
from mirage.template import (
    Expression,
    Template,
    TemplateMistake,
    Tree,
    compile_expression,
    compile_text,
    compile_tree,
)

NEED_JSON = ("output_schema", "structured")
Keys = tuple[str | int, ...]
T = TypeVar("T")


class Declared(Struct):
    """The names of a configuration. `mistakes` holds what is wrong so far.

    `aliases` are keys of JSON outputs that may be named alone, with their paths; `ambiguous` those
    that several outputs have; `schemas` the JSON Schemas of one answer, by output.
    """

    loaded: Loaded
    names: set[str] = set()
    images: list[str] = []
    aliases: dict[str, Keys] = {}
    ambiguous: dict[str, tuple[str, ...]] = {}
    schemas: dict[str, dict[str, Any]] = {}
    mistakes: list[Mistake] = []

    def __post_init__(self) -> None:
        self._declare_names()
        self._declare_keys()

    @property
    def config(self) -> Config:
        return self.loaded.config

    def _declare_names(self) -> None:
        entries = [
            (("inputs", n, "name"), each.name) for n, each in enumerate(self.config.inputs)
        ] + [(("outputs", n, "name"), each.name) for n, each in enumerate(self.config.outputs)]
        for path, name in entries:
            if name in self.names:
                self.wrong(path, f"'{name}' is declared twice")
            self.names.add(name)
        self.images = [each.name for each in self.config.inputs if each.type == "image"]

    def _declare_keys(self) -> None:
        owners: dict[str, list[str]] = {}
        for number, output in enumerate(self.config.outputs):
            schema = self._schema(number, output) if isinstance(output, LLMOutput) else None
            if schema is not None:
                self.schemas[output.name] = schema
                for key in keys(schema):
                    owners.setdefault(key, []).append(output.name)
        for key, outputs in owners.items():
            if key in self.names:
                continue
            if len(outputs) == 1:
                self.aliases[key] = (outputs[0], key)
            else:
                self.ambiguous[key] = tuple(outputs)

    def _schema(self, number: int, output: LLMOutput) -> dict[str, Any] | None:
        """The JSON Schema of an output's value; None where it is a text."""
        path = ("outputs", number, "output_schema")
        if output.choices is not None:
            return CHOSEN
        if output.output_type == "plain":
            for key in NEED_JSON:
                if output.given(key):
                    self.wrong((*path[:2], key), f"`{key}` needs `output_type: JSON`")
            return None
        if output.output_schema is None:
            self.wrong(path[:2], "`output_type: JSON` needs an `output_schema`: its keys")
            return None
        return self.attempt(path, answer_schema, output.output_schema)

    # -- mistakes --------------------------------------------------------------------------------

    def wrong(self, path: Keys, message: str, offset: int = 0) -> None:
        self.mistakes.append(self.loaded.mistake(path, message, offset))

    def attempt(self, path: Keys, make: Callable[..., T], *arguments: Any) -> T | None:
        """What `make` returns; None where it raises, after its mistakes are noted."""
        try:
            return make(*arguments)
        except TemplateMistake as first:
            for mistake in first.together:
                self.wrong((*path, *mistake.path), mistake.message, mistake.offset)
        except SchemaMistake as mistake:
            self.wrong((*path, *mistake.path), mistake.message)
        except ConfigError as errors:
            for each in errors.mistakes:  # of what stands at `path`, by a name of its own
                self.wrong((*path, *each.path.split(".")[1:]), each.message)
        except ValueError as exc:
            self.wrong(path, str(exc))
        return None

    # -- templates and paths ---------------------------------------------------------------------

    def folder(self, path: str | None, *at: str | int) -> Place | None:
        """The folder that a path means, which stands in the configuration at `at`."""
        return None if path is None else self.attempt(at, place, self.loaded.folder, path)

    def text(self, text: str) -> Template:
        names, aliases, ambiguous = self.names, self.aliases, self.ambiguous
        return compile_text(text, names, aliases=aliases, ambiguous=ambiguous, images=self.images)

    def tree(self, tree: Any) -> Tree:
        return compile_tree(tree, self.names, aliases=self.aliases, ambiguous=self.ambiguous)

    def expression(self, text: str) -> Expression:
        return compile_expression(text, self.names, aliases=self.aliases, ambiguous=self.ambiguous)
