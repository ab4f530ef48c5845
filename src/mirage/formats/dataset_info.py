"""`dataset_info.json`: what LLaMA-Factory knows of the files beside it.

    {"train": {"file_name": "train.json", "formatting": "sharegpt",
               "columns": {"messages": "conversations", "images": "images"}}}

An entry names the columns of a row and the tags of its messages. The loader's rule (`DatasetAttr`
in src/llamafactory/data/parser.py of https://github.com/hiyouga/LLaMA-Factory): an entry without
`columns` means the usual ones, and with them exactly those; the same goes for `tags`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import orjson
from msgspec import Struct

from mirage.formats.shape import Shape
from mirage.places import Place

NAME = "dataset_info.json"
ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
FORMATS = {"alpaca": "alpaca", "sharegpt": "sharegpt", "openai": "sharegpt"}
COLUMNS = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output"},
    "sharegpt": {"messages": "conversations"},
}
TAGS = {
    **{"role_tag": "from", "content_tag": "value", "system_tag": "system"},
    **{"user_tag": "human", "assistant_tag": "gpt"},
    **{"observation_tag": "observation", "function_tag": "function_call"},
}

Info = dict[str, dict[str, Any]]


class Layout(Struct, frozen=True):
    """Where a row keeps what: LLaMA-Factory's words for columns and tags, and those of the file.

    `ranking` says whether every row has a rejected answer; None where each row says so itself.
    """

    columns: Mapping[str, str]
    tags: Mapping[str, str]
    ranking: bool | None = None

    def of(self, row: Mapping[str, Any], column: str) -> Any:
        """What a row has in a column; None where the layout does not name it."""
        name = self.columns.get(column)
        return None if name is None else row.get(name)


@runtime_checkable
class Described(Shape, Protocol):
    """A format of LLaMA-Factory: it can be read in another layout than the one it is written in."""

    written: ClassVar[Layout]

    def at(self, layout: Layout) -> Self: ...


def described(form: Shape, path: Place) -> Shape:
    """A format as the rows of this very file have it. Raises ValueError for a description that is
    torn, or speaks of another format.
    """
    if not isinstance(form, Described):
        return form
    said = formatting(path)
    if said not in (None, form.name):
        raise ValueError(f"{path.with_name(NAME)} says that {path.name} is {said}, not {form.name}")
    found = list(entries(path))
    return form.at(merged(form.name, found)) if found else form


def formatting(path: Place) -> str | None:
    """The format of a file, where it is described. Raises ValueError for a torn description."""
    said = [each.get("formatting", "alpaca") for each in entries(path)]
    known = {FORMATS.get(each) for each in said if isinstance(each, str)}
    return known.pop() if len(known) == 1 else None


def entries(path: Place) -> Iterator[dict[str, Any]]:
    """What is said of a file beside it; other programs' files of that name say nothing."""
    try:
        found = parsed(path.with_name(NAME))
    except FileNotFoundError:
        return
    if isinstance(found, dict):
        yield from (each for each in found.values() if is_of(each, path.name))


def merged(name: str, found: list[dict[str, Any]]) -> Layout:
    """One layout of all that is said of a file."""
    columns, tags = texts(found, "columns"), texts(found, "tags")
    ranking = {each.get("ranking") is True for each in found}
    only = ranking.pop() if len(ranking) == 1 else None
    return Layout(columns or COLUMNS[name], tags or TAGS, only)


def texts(found: list[dict[str, Any]], key: str) -> dict[str, str]:
    given = [each[key] for each in found if isinstance(each.get(key), dict)]
    return {k: v for each in given for k, v in each.items() if isinstance(v, str)}


def load(folder: Path) -> Info:
    """The descriptions in a folder, to be added to. Raises ValueError where the file is torn, or is
    none of LLaMA-Factory's.
    """
    path = folder / NAME
    try:
        found = parsed(path)
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict) or not all(isinstance(each, dict) for each in found.values()):
        raise ValueError(f"{path} is no list of datasets of LLaMA-Factory: choose another folder")
    return found


def parsed(path: Place) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as exc:
        raise ValueError(f"{path} is torn: {exc}") from exc


def is_of(entry: Any, file: str) -> bool:
    """Whether an entry speaks of a file, and not of a dataset elsewhere."""
    mine = isinstance(entry, dict) and entry.get("file_name") == file
    return mine and not any(key in entry for key in ELSEWHERE)


def updated(info: Info, form: Described, file: str, kinds: Iterable[bool]) -> Info:
    """The descriptions with those of a file among them, all others kept.

    `kinds` are the kinds of its rows, True for those with a rejected answer. The loader takes one
    kind from an entry and passes over the other, so that a file of both has two entries.
    """
    stem = Path(file).stem
    name = file if stem in info and not is_of(info[stem], file) else stem
    names = {False: name, True: f"{name}_ranking"}
    wanted = sorted({*kinds}) or [False]
    if wanted == [True]:
        names = {True: name, False: f"{name}_ranking"}
    made = dict(info)
    for ranking in (False, True):
        old = info.get(names[ranking], {})
        if old and not is_of(old, file):
            raise ValueError(f"{NAME} has an entry '{names[ranking]}' of other data: rename it")
        if ranking in wanted:
            made[names[ranking]] = {**old, **entry(form, file, ranking)}
        else:
            made.pop(names[ranking], None)
    return made


def entry(form: Described, file: str, ranking: bool) -> dict[str, Any]:
    """What is said of a file that was written here."""
    without = {"response"} if ranking else {"chosen", "rejected"}
    columns = {k: v for k, v in form.written.columns.items() if k not in without}
    tags = {"tags": dict(form.written.tags)} if form.written.tags else {}
    said = {"file_name": file, "formatting": form.name, "ranking": ranking}
    return {**said, "columns": columns, **tags}
