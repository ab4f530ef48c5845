"""`processing_params`: what is selected from a row, what is made of it, and the result's rows."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any

from mirage.config.imported.engines import Processors, number
from mirage.config.imported.new import VARIABLE, New
from mirage.config.imported.old import Old, Section
from mirage.config.imported.templates import (
    Translate,
    from_format,
    from_jinja,
    is_jinja,
    reads,
    texts,
    translated,
)
from mirage.names import NAME, Path

ROW = "row"
LIMITS = ("min", "max")
STAYING = "These columns stay, as they did without `remove_columns`."
PLAIN_KEY = re.compile(NAME)


class Processing:
    """The part of the old file in which templates stand, piece by piece."""

    def __init__(self, old: Old, section: Section, new: New, found: Processors) -> None:
        self.old, self.section, self.new, self.found = old, section, new, found
        self.inputs: list[dict[str, Any]] = []
        self.outputs: list[dict[str, Any]] = []
        self.gone: set[str] = set()
        """Outputs that have no counterpart, and those that read them."""
        self.names: list[str] = []
        """All variables so far, in order."""

    def translate(self, modern: bool) -> Translate:
        """How this file's templates are read; `modern` is the layout that had Jinja alone."""
        data = self.section.left
        declared = self.declared(data)
        written = texts([data.get("outputs"), data.get("output_schema")])
        jinja = modern or is_jinja(written, declared)
        if jinja:
            return from_jinja(declared)
        objects = {
            str(each.get("name"))
            for each in mappings(data.get("outputs"))
            if str(each.get("output_type")).lower() == "json"
        }
        return from_format(objects)

    @staticmethod
    def declared(data: dict[str, Any]) -> set[str]:
        entries = [*mappings(data.get("inputs")), *mappings(data.get("outputs"))]
        names = {str(each.get("name")) for each in entries}
        schemas = [each.get("output_schema") for each in entries]
        keys = {str(key) for each in schemas if isinstance(each, list | dict) for key in each}
        return names | {key for key in keys if PLAIN_KEY.fullmatch(key)}

    def run(self, modern: bool) -> None:
        translate = self.translate(modern)
        for key in ("inputs", "outputs"):
            self.new.origins[key,] = (*self.section.path, key)
        for path, _ in self.section.each("inputs"):
            self.input(self.old.section(*path))
        for path, _ in self.section.each("outputs"):
            self.output(self.old.section(*path), translate)
        self.columns(translate)

    def put(self, key: str, entry: dict[str, Any], path: Path) -> None:
        entries = self.inputs if key == "inputs" else self.outputs
        self.new.origins[key, len(entries)] = path
        entries.append(entry)

    # -- inputs ----------------------------------------------------------------------------------

    def input(self, given: Section) -> None:
        entry = {"name": given.text("name"), "key": given.text("key")}
        kind = given.text("type")
        if kind and kind != "text":
            entry["type"] = kind
        if base := given.text("image_base_path"):
            entry["image_base_path"] = self.new.path(base)
        given.settle({})
        self.names.append(entry["name"])
        self.put("inputs", entry, given.path)

    @property
    def images(self) -> list[str]:
        return [each["name"] for each in self.inputs if each.get("type") == "image"]

    # -- outputs ---------------------------------------------------------------------------------

    def output(self, given: Section, translate: Translate) -> None:
        name, kind = given.text("name"), given.text("type").lower() or "llm"
        read = [each for each in self.gone if reads(given.left, each)]
        entry: dict[str, Any] | None = None
        if read:
            given.old.tell(given.path, f"reads {read[0]}, which has no counterpart", lost=True)
        elif kind == "filter":
            entry = self.filter(given, name)
        elif kind == "custom":
            entry = self.custom(given, name)
        else:
            entry = self.llm(given, name, kind, translate)
        if entry is None:
            self.gone |= {name} if name else set()
            return
        given.settle({})
        self.put("outputs", entry, given.path)
        if kind != "filter":
            self.names.append(name)

    def llm(
        self, given: Section, name: str, kind: str, translate: Translate
    ) -> dict[str, Any] | None:
        engine = "llm" if kind == "prompt" else kind
        if engine not in self.found.engines:
            given.old.tell(given.path, f"there is no processor of type '{kind}' here", lost=True)
            return None
        entry: dict[str, Any] = {"name": name, "type": "llm"}
        if len(self.found.engines) > 1:
            entry["engine"] = engine
        is_json = given.text("output_type").lower() == "json"
        schema = given.take("output_schema", [])
        if is_json:
            # The old project added nothing to the prompt; the schema bound the answer.
            entry |= {"output_type": "JSON", "output_schema": bounded(schema), "format_note": False}
        elif schema:
            given.tell("output_schema", "it had no effect without `output_type: JSON`")
        if self.images != sorted(self.images):
            entry["images"] = sorted(self.images)
        prompt = given.take("prompt", "")
        entry["prompt"] = self.told((*given.path, "prompt"), translate)(str(prompt))
        return entry

    def filter(self, given: Section, name: str) -> dict[str, Any]:
        keep = given.text("predicate")
        if keep.startswith("{{") and keep.endswith("}}"):
            keep = keep[2:-2].strip()
        taken = {*self.names, *(each["name"] for each in self.outputs)}
        number = 1 + sum(each["type"] == "filter" for each in self.outputs)
        return {"name": name or fresh(f"filter_{number}", taken), "type": "filter", "keep": keep}

    def custom(self, given: Section, name: str) -> dict[str, Any] | None:
        """The function got all variables in one mapping, as its only argument."""
        found = self.found.custom
        if found is None:
            given.old.tell(given.path, "there is no processor of type 'custom' here", lost=True)
            return None
        argument = parameter(found["script"], found["function"])
        if argument is None:
            message = f"{found['function']} is not found in {found['file']}: say under `args` what "
            given.old.tell(given.path, f"{message}its parameter is called, if not '{ROW}'", True)
        values = {each: f"{{{each}}}" for each in self.names}
        return {
            "name": name,
            "type": "python",
            "file": found["file"],
            "function": found["function"],
            "args": {argument or ROW: values},
            "timeout": found["timeout"],
        }

    # -- the row ---------------------------------------------------------------------------------

    def columns(self, translate: Translate) -> None:
        path = (*self.section.path, "output_schema")
        schema: dict[str, Any] = {}
        for key in (given := self.section.below("output_schema")).left:
            value = given.left[key]
            read = [each for each in self.gone if reads(value, each)]
            if read:
                self.old.tell((*path, key), f"reads {read[0]}, which has no counterpart", lost=True)
            else:
                schema[key] = translated(value, self.told((*path, key), translate))
        self.new.origins["output_schema",] = path
        self.new.data["output_schema"] = schema

    def passing(self, columns: Sequence[str] | None) -> None:
        """The source's own columns, which stayed where `remove_columns` did not take them."""
        if self.section.flag("remove_columns"):
            return
        if columns is None:
            message = "the source cannot be read now, so its other columns are not in the result: "
            message += "name them as inputs and in `output_schema`, or say `remove_columns: true`"
            self.section.tell("remove_columns", message, lost=True)
            return
        schema, row = self.new.data["output_schema"], {}
        by_key = {each["key"]: each["name"] for each in self.inputs}
        for column in columns:
            key = column if PLAIN_KEY.fullmatch(column) else json.dumps(column, ensure_ascii=False)
            if column not in schema and key not in by_key:
                name = fresh(re.sub(r"\W", "_", column, flags=re.ASCII), {*self.names, *self.gone})
                self.names.append(name)
                if not any(step == "inputs" for step, *_ in self.new.remarks):
                    self.new.remarks["inputs", len(self.inputs)] = STAYING
                self.inputs.append({"name": name, "key": key, "required": False})
                by_key[key] = name
            row[column] = schema[column] if column in schema else f"{{{by_key[key]}}}"
        self.new.data["output_schema"] = row | schema

    def told(self, path: Path, translate: Translate) -> Callable[[str], str]:
        """Translates a text that stands at or below a path, and tells what there is to tell."""

        def tell(message: str, lost: bool = False) -> None:
            self.old.tell(path, message, lost)

        def told(text: str) -> str:
            for found in VARIABLE.finditer(text):
                if (found[1] or found[2] or "") in os.environ:
                    tell(f"{found[0]} was the environment's; it has no place in templates", True)
            return translate(text, tell)

        return told


def mappings(value: Any) -> list[dict[str, Any]]:
    """Those of a list, if it is one."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def fresh(name: str, taken: set[str]) -> str:
    """A name like this one that nothing has."""
    name = name if PLAIN_KEY.fullmatch(name) else f"_{name}"
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def bounded(schema: Any) -> Any:
    """The keys of an answer; limits that the environment gave as texts are numbers."""
    if not isinstance(schema, dict):
        return schema
    return {
        key: {each: number(value) if each in LIMITS else value for each, value in kind.items()}
        if isinstance(kind, dict)
        else kind
        for key, kind in schema.items()
    }


def parameter(script: FilePath, function: str) -> str | None:
    """What the function calls its first parameter; None where that cannot be seen."""
    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == function and node.args.args:
            return node.args.args[0].arg
    return None
