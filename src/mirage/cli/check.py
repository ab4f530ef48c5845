"""`mirage check`, `mirage init` and `mirage schema`: the configuration itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirage.cli import options
from mirage.cli.text import clean, command, fields, near, say, say_json, short

if TYPE_CHECKING:
    from mirage.job import Job

STARTER, SCHEMA = "mirage.yaml", "mirage.schema.json"


@click.command(epilog=options.example("mirage check reformat.yaml --source rows.jsonl --sink out"))
@options.configured
@options.as_json
def check(config: Path, as_json: bool, **flags: Any) -> None:
    """Find every mistake, or say what would run.

    Nothing is loaded, and nothing is written.
    """
    from mirage import api

    what = described(api.check(config, **flags))
    if as_json:
        say_json({"ok": True, **what})
        return
    say(fields(told(what)))
    say(f"\nnext: {click.style(options.again('run', config, **flags), bold=True)}")


def described(job: Job) -> dict[str, Any]:
    """What a job would do; secrets redacted, `${…}` unexpanded."""
    config, document = job.loaded.config, job.loaded.document
    given = document.get("source")
    graph = job.plan.graph
    steps = {output.name: output for output in config.outputs}
    return {
        "source": given if isinstance(given, list) else [given],
        "engines": {name: _engine(job, name) for name in job.plan.engines},
        "inputs": {each.name: each.key for each in config.inputs},
        "outputs": [
            {
                "name": step.name,
                "does": _does(steps[step.name]),
                "reads": sorted(step.needs),
                "per_item": step in graph.branch,
            }
            for step in (*graph.trunk, *graph.branch)
        ],
        "many": job.plan.many,
        "columns": list(config.output_schema),
        "sink": str(job.target.absolute()),
        "run_dir": str(job.folder.root.absolute()),
    }


def _engine(job: Job, name: str) -> dict[str, Any]:
    spec, shown = job.plan.engines[name], job.loaded.document
    for key in spec.path.split("."):
        shown = shown[key]
    inferred = {} if "backend" in shown else {"inferred": True}
    capacity = {"max_in_flight": job.engines[name].capacity}
    return {**shown, "backend": spec.backend, **inferred, **capacity}


def _does(output: Any) -> str:
    """What one entry of `outputs` is, in a few words."""
    match output.type:
        case "llm":
            if output.choices is not None:
                return "a model decides among choices"
            kind = "JSON" if output.output_type == "json" else "text"
            return f"a model answers with {'a list of objects' if output.many else kind}"
        case "python":
            return f"calls {output.function}"
        case _:
            return f"keeps where {output.keep}"


def told(what: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The description, as labels and texts."""
    for source in what["source"]:
        rest = "".join(f", {key} {value}" for key, value in source.items() if key != "path")
        yield "source", clean(f"{source['path']}{rest}")
    engines = what["engines"]
    if list(engines) == ["default"]:
        yield "engine", clean(_engine_line(engines["default"]))
    else:
        lines = (f"{name} = {_engine_line(engine)}" for name, engine in engines.items())
        yield "engines", clean("\n".join(lines))
    yield "inputs", "\n".join(clean(f"{name} = {key}") for name, key in what["inputs"].items())
    yield "outputs", "\n".join(_output_lines(what))
    yield "columns", clean(", ".join(what["columns"]))
    yield "sink", near(what["sink"])
    yield "run dir", near(what["run_dir"])


def _engine_line(engine: dict[str, Any]) -> str:
    inferred = " (inferred)" if "inferred" in engine else ""
    model = f", {engine['model_path']}" if engine.get("model_path") else ""
    urls = engine.get("base_url") or []
    urls = [urls] if isinstance(urls, str) else urls
    address = f" at {', '.join(urls)}" if urls else ""
    return f"{engine['backend']}{inferred}{model}{address}, {engine['max_in_flight']} calls at once"


def _output_lines(what: dict[str, Any]) -> Iterator[str]:
    for number, output in enumerate(what["outputs"], 1):
        reads = f"; reads {', '.join(output['reads'])}" if output["reads"] else ""
        each = f"for each of {what['many']}: " if output["per_item"] else ""
        yield clean(f"{number}. {each}{output['name']}: {short(output['does'])}{reads}")


@click.command(epilog=options.example("mirage schema > mirage.schema.json"))
@options.as_json
def schema(as_json: bool) -> None:
    """Print the JSON Schema of a configuration, for editors."""
    from mirage.config.editor import json_schema

    say_json(json_schema())


@click.command(epilog=options.example("mirage init reformat.yaml"))
@click.argument("path", default=STARTER, type=click.Path(path_type=Path))
@options.as_json
def init(path: Path, as_json: bool) -> None:
    """Write a configuration to start from.

    It is commented, and the schema that editors check it against is written beside it.
    """
    from importlib.resources import files

    import orjson

    from mirage.atomic import write_bytes
    from mirage.config.editor import json_schema

    target = path / STARTER if path.is_dir() else path
    target.parent.mkdir(parents=True, exist_ok=True)
    starter = (files("mirage.recipes") / "starter.yaml").read_text("utf-8")
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(starter.replace("mirage.yaml", target.name))
    except FileExistsError as exc:
        raise click.UsageError(f"{target} is there already; nothing was written") from exc
    beside = target.with_name(SCHEMA)
    write_bytes(beside, orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2))
    hint = command("mirage", "check", target)
    if as_json:
        say_json({"config": str(target), "schema": str(beside), "next": hint})
        return
    say(fields([("wrote", f"{target}\n{beside}")]))
    say(f"\nnext: edit it, then {click.style(hint, bold=True)}")
