"""`loading_params`, or `processing_gen_params`, and `execution_params`: where rows come from, where
they go, and how.
"""

from __future__ import annotations

import re
from pathlib import Path as FilePath
from typing import Any

import orjson

from mirage.config.imported.new import New
from mirage.config.imported.old import Old, Section
from mirage.names import Path

HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
DATA = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
SHARDS = "blocks are shared among processes as they come: several `mirage run` share one run"
NO_SHARDS = {
    "num_shards": SHARDS,
    "shard_id": SHARDS,
    "batch_size": "there are no batches; `engine.max_in_flight` says how many calls are under way",
    "state_dir": "what is done is kept in `run.dir`",
    "conversations_field": "it had no effect: inputs name their keys",
}
LAUNCHER = "!give it to `mirage launch`, which submits a run to SLURM"
SLURM = ("account", "job_name", "reservation", "nodes", "ntasks_per_node", "gpus", "cpus_per_task")
EXECUTION = {
    "retry": "`mirage retry` takes failed records up again",
    "max_retries": "`mirage retry` takes failed records up again",
    "merge": "the dataset is always written as a whole",
    "poll_interval_seconds": "no job is waited for",
    "settle_time_seconds": "no job is waited for",
    "hf_home": "!set HF_HOME in the environment",
    "edf_env": LAUNCHER,
    "report_dir": LAUNCHER,
    "time_limit": LAUNCHER,
} | dict.fromkeys(SLURM, LAUNCHER)
MERGED = "merged"


def loading(old: Old, section: Section, new: New) -> None:
    """`source` and `sink`."""
    sources: list[dict[str, Any]] = []
    outputs: dict[str, Path] = {}
    origins: list[Path] = []
    for path, entry in section.each("datasets"):
        named = isinstance(entry, str)
        given = Section(old, path, {"path": entry}) if named else old.section(*path)
        folder = given.text("output_dir")
        if folder:
            outputs.setdefault(folder, path)
        found = source(given, new)
        origins += [path] * len(found)
        sources += found
    if not sources:
        raise old.wrong(section.path, "no datasets are named")
    new.data["source"] = sources[0] if len(sources) == 1 else sources
    for index, path in enumerate(origins):
        new.origins[("source",) if len(sources) == 1 else ("source", index)] = path
    common = section.text("output_dir")
    if common:
        outputs.setdefault(common, section.path)
    target, *others = outputs or {"output": section.path}
    for other in others:
        message = f"all rows go to {target}: a run writes one dataset"
        old.tell((*outputs[other], "output_dir"), message, lost=True)
    new.data["sink"] = {"path": f"{new.path(target).rstrip('/')}/{MERGED}", "format": "hf"}
    section.settle(NO_SHARDS)


def source(given: Section, new: New) -> list[dict[str, Any]]:
    """One dataset; each split of a `DatasetDict` is a source, since all of them were read."""
    text, kind = given.text("path"), given.text("type").lower() or "loadable"
    place = new.on_disk(text)
    found: dict[str, Any] = {"path": new.path(text)}
    splits: list[str] = []
    if kind == "jsonl":
        found |= lines(text, place)
    elif kind != "loadable":
        given.tell("type", f"'{kind}' is not known: the format follows from the path", lost=True)
    elif not text.lower().endswith(DATA):
        found["format"] = "hf"
        splits = splits_of(place)
        if not place.exists() and HUB.fullmatch(text):
            given.tell("path", f"nothing is there; if the hub is meant, write hf://{text}")
    if base := given.text("image_base_path"):
        found["image_base_path"] = new.path(base)
    given.settle({})
    return [found | {"split": split} for split in splits] if len(splits) > 1 else [found]


def lines(text: str, place: FilePath) -> dict[str, str]:
    """The format of what was read as JSON: an array, where the file begins as one."""
    if text.lower().endswith((".jsonl", ".ndjson")):
        return {}
    if place.is_file():
        with place.open("rb") as file:
            if file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
                return {"format": "json"}
    return {"format": "jsonl"}


def splits_of(folder: FilePath) -> list[str]:
    try:
        return list(orjson.loads((folder / "dataset_dict.json").read_bytes())["splits"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def execution(section: Section) -> None:
    """Where the old project ran; on one machine, what SLURM was told had no effect."""
    slurm = section.text("mode").lower() == "slurm"
    section.left.pop("project_root", None)
    idle = "it had no effect on one machine"
    known = {key: idle if why == LAUNCHER and not slurm else why for key, why in EXECUTION.items()}
    section.settle(known)
