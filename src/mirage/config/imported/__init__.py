"""A configuration of the upstream project becomes one of ours.

    old.py          the old file, of which no key is passed over
    engines.py      `processors`, or `engine` and `sampling_params`
    loading.py      `loading_params` or `processing_gen_params`, and `execution_params`
    processing.py   `processing_params`
    templates.py    prompts: `str.format` and Jinja
    new.py          the new file, and which comments go there
    writing.py      YAML

What was done by a key is done by the new file, or it is told: `Told.lost` says whether that is a
loss. Both layouts are read by the same code, since files stand between them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any

from msgspec import Struct

from mirage.config.document import Document, read_document
from mirage.config.imported.engines import Processors, processors
from mirage.config.imported.loading import execution, loading
from mirage.config.imported.new import Kept, New
from mirage.config.imported.old import Old, Section, Told
from mirage.config.imported.processing import Processing
from mirage.config.imported.writing import to_yaml
from mirage.errors import ConfigError, Mistake
from mirage.names import Path

Columns = Callable[[dict[str, Any]], Sequence[str] | None]
"""The columns of one source, where they can be seen."""

LOADING = ("loading_params", "processing_gen_params")
LAYOUTS = (
    "`processors`, `loading_params`, `processing_params` and `execution_params`, or `engine`, "
    "`sampling_params`, `processing_gen_params` and `processing_params`"
)

__all__ = ["Columns", "Imported", "Told", "import_config"]


class Imported(Struct, frozen=True):
    """The new file's text, and what there is to know about the old one, by lines."""

    text: str
    told: list[Told]

    @property
    def lost(self) -> list[Told]:
        return [each for each in self.told if each.lost]


def import_config(
    text: str,
    file: str = "",
    *,
    root: FilePath,
    folder: FilePath,
    columns: Columns = lambda source: None,
) -> Imported:
    """A configuration of the upstream project, in either layout, as one of ours.

    Its relative paths start at `root`, where the old command was given; those of the new file at
    `folder`, where it will stand. Raises ConfigError where the file is in neither layout.
    """
    document = read_document(text, file)
    old = Old(document, file)
    top = layout(document, old)
    run = top.below("execution_params")
    new = New(root / new_root(run), folder)
    new.data |= {"source": {}}
    found = processors(old, top, new)
    which = next((key for key in LOADING if key in top.left), LOADING[0])
    loading(old, top.below(which), new)
    execution(run)
    sink = new.data.pop("sink")
    engines(found, new)
    processing = Processing(old, top.below("processing_params"), new, found)
    new.data |= {"inputs": processing.inputs, "outputs": processing.outputs}
    processing.run(modern="processors" in document.data)
    processing.passing(all_columns(new.data["source"], columns))
    processing.section.settle({"cast_images": "images are written as images"})
    top.settle({})
    new.data["sink"] = sink
    made = to_yaml(new.data, Kept(document, new))
    name = f" out of {FilePath(file).name}" if file else ""
    return Imported(f"# Made{name} by `mirage import-config`.\n\n{made}", ordered(old))


def layout(document: Document, old: Old) -> Section:
    """The keys of the old file. Raises ConfigError where they are not those of an old file."""
    data = document.data
    if "inputs" in data and "output_schema" in data:
        message = "this is a configuration of ours already: `mirage check` says what it does"
        raise ConfigError([Mistake("", message, old.file, 1, 1)])
    engine = "processors" in data or "engine" in data
    if not (engine and "processing_params" in data and any(key in data for key in LOADING)):
        missing = f"this is no configuration of the upstream project: it has {LAYOUTS}"
        raise ConfigError([Mistake("", missing, old.file, 1, 1)])
    return Section(old, (), dict(data))


def new_root(run: Section) -> FilePath:
    """The folder that the old file itself says its paths start at."""
    return FilePath(os.path.expandvars(str(run.left.get("project_root") or ""))).expanduser()


def engines(found: Processors, new: New) -> None:
    """One engine, or several by their names."""
    if len(found.engines) != 1:
        new.data |= {"engines": found.engines} if found.engines else {}
        return
    ((name, engine),) = found.engines.items()
    new.data["engine"] = engine
    at: Path = ("engines", name)
    new.origins = {
        ("engine", *path[2:]) if path[:2] == at else path: old for path, old in new.origins.items()
    }


def all_columns(source: Any, columns: Columns) -> list[str] | None:
    """The columns of all sources, in order; None where those of one cannot be seen."""
    found: dict[str, None] = {}
    for each in source if isinstance(source, list) else [source]:
        seen = columns(each)
        if seen is None:
            return None
        found |= dict.fromkeys(seen)
    return list(found)


def ordered(old: Old) -> list[Told]:
    """What was told, by lines, each thing once."""
    return sorted(dict.fromkeys(old.told), key=lambda each: each.line)
