"""How a dataset was made: `manifest.json`, beside it and in the run's folder."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import orjson
from msgspec.structs import asdict

from mirage import __version__
from mirage.atomic import write_bytes
from mirage.engines import describe
from mirage.job import Job
from mirage.places import RemotePath
from mirage.report import Counts, Usage


def write_manifest(
    job: Job, counts: Counts, usage: Usage, left_out: Sequence[Mapping[str, object]] = ()
) -> None:
    """How the dataset was made: in the run's folder, and beside it where there is one. `left_out`
    are the rows of the source that are not in it.
    """
    config = job.loaded.config
    manifest = {
        "dataset": None if counts.fruitless else str(job.target),
        "rows": counts.rows_written,
        "counts": asdict(counts),
        "usage": asdict(usage),
        **({"left_out": left_out} if left_out else {}),
        "seed": config.run.seed,
        "fingerprint": job.plan.fingerprint.hex(),
        "engines": {name: describe(engine) for name, engine in job.engines.items()},
        "config": job.loaded.document,
        "file": job.loaded.file,
        "versions": {
            "mirage": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("pyarrow", "pillow", "jinja2", "pydantic")},
        },
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    data = orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    write_bytes(job.folder.root / "manifest.json", data)
    if counts.fruitless:
        return
    beside = job.target.with_name(f"{job.target.name}.manifest.json")
    if isinstance(beside, RemotePath):
        beside.write_bytes(data)
    else:
        write_bytes(beside, data)
