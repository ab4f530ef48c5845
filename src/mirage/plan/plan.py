"""Config -> Plan: everything that can fail fails here, before a model is loaded.

All mistakes of a configuration are raised together, each at its position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct

from mirage.config import SERVED, Loaded, backend_of, unserved
from mirage.config.models import EngineConfig, LLMOutput
from mirage.engines import identity
from mirage.errors import ConfigError
from mirage.formats import SHAPES
from mirage.places import Place, RemotePath
from mirage.plan.declared import Declared, Keys
from mirage.plan.graph import CycleError, Graph, arrange
from mirage.plan.inputs import Input
from mirage.plan.outputs import DEFAULT_ENGINE, EngineSpec, Outputs, sampling
from mirage.select import MISSING, compile_key, fields_of
from mirage.sources.blocks import BOUNDS, Bounds
from mirage.steps.llm import LLMStep
from mirage.steps.python import PythonStep
from mirage.steps.step import Step
from mirage.template import Tree
from mirage.template.references import find_references

if TYPE_CHECKING:
    from mirage.media.web import Web


class Plan(Struct, frozen=True):
    """What runs. Rows are made of the inputs that are `recalled`, out of the `recalled_fields` of
    the source (None: any). `bases` are the image folders of the sources, by their number; `web`
    fetches images that are URLs, `pictured` says whether there are images at all.

    `fingerprint` (16 bytes) covers what decides the values: inputs, outputs, the output's tree,
    models and sampling; `constrained` are the engines that are asked to keep to a schema, `seeing`
    those that are sent images, with an output that does so, `scored`
    those that say how likely choices are, with an output that needs it; `sink_fingerprint` what
    else decides a part, `source_fingerprint` what is read. `declared` gives the types of columns
    that are known beforehand, `bounds` the size of a block.
    """

    inputs: tuple[Input, ...]
    recalled: tuple[Input, ...]
    recalled_fields: frozenset[str] | None
    pictured: bool
    web: Web | None
    graph: Graph
    many: str | None
    tree: Tree
    bases: tuple[Place | None, ...]
    engines: Mapping[str, EngineSpec]
    constrained: frozenset[str]
    seeing: Mapping[str, str]
    scored: Mapping[str, str]
    declared: Mapping[str, str]
    fingerprint: bytes
    sink_fingerprint: str
    source_fingerprint: str
    bounds: Bounds
    on_error: str
    max_failures: float | int | None

    @property
    def only_asks(self) -> bool:
        """Whether nothing takes a record's time but calls: no image, no function."""
        steps = (*self.graph.trunk, *self.graph.branch)
        return not self.pictured and not any(isinstance(step, PythonStep) for step in steps)

    def open_archives(self) -> None:
        """Index the archives that images are said to be in: no record shall wait for that."""
        folders = {*self.bases, *(variable.base for variable in self.inputs)}
        for folder in folders:
            if isinstance(folder, Path) and not folder.is_dir():
                from mirage.media.archives import prepare

                prepare(str(folder))


def build(loaded: Loaded) -> Plan:
    """Compile a configuration. Raises ConfigError with all of its mistakes."""
    declared = Declared(loaded)
    config = loaded.config
    for path, message in unserved(config):
        declared.wrong(path, message)
    web = open_web(declared)
    inputs = tuple(compile_inputs(declared, web))
    engines = compile_engines(declared)
    outputs = Outputs(declared, engines)
    steps = list(outputs.steps())
    many = outputs.many()
    tree = declared.attempt(("output_schema",), declared.tree, config.output_schema)
    graph = compile_graph(declared, steps, many)
    check_columns(declared)
    bases = tuple(compile_bases(declared)) or (None,)
    if declared.mistakes or tree is None or graph is None:
        raise ConfigError(declared.mistakes)
    asked = [step for step in steps if isinstance(step, LLMStep)]
    used = {step.engine for step in asked}
    told = tree.needs.union(*(step.recalls for step in asked))
    recalled = tuple(variable for variable in inputs if variable.name in told)
    return Plan(
        inputs=inputs,
        recalled=recalled,
        recalled_fields=fields_of(variable.key for variable in recalled),
        pictured=any(variable.image for variable in inputs),
        web=web,
        graph=graph,
        many=many,
        tree=tree,
        bases=bases,
        engines={name: engines[name] for name in engines if name in used},
        constrained=frozenset(step.engine for step in asked if step.constrains),
        seeing={step.engine: step.name for step in asked if step.needs & {*declared.images}},
        scored={step.engine: step.name for step in asked if step.choices is not None},
        declared=column_types(declared),
        fingerprint=fingerprint(declared, engines, steps),
        sink_fingerprint=digest(config.sink and config.sink.model_dump()).hex(),
        source_fingerprint=digest([each.model_dump() for each in config.sources]).hex(),
        bounds=Bounds(rows=config.run.block_rows or BOUNDS.rows),
        on_error=config.run.on_error,
        max_failures=config.run.max_failures,
    )


def compile_bases(declared: Declared) -> Iterator[Place | None]:
    """The folder of each source's images."""
    several = isinstance(declared.config.source, list)
    for number, source in enumerate(declared.config.sources):
        at: Keys = ("source", number) if several else ("source",)
        yield declared.folder(source.image_base_path, *at, "image_base_path")


def open_web(declared: Declared) -> Web | None:
    """What fetches images, where `run.fetch` says that they are fetched."""
    fetch = declared.config.run.fetch
    cache = declared.folder(fetch.cache, "run", "fetch", "cache") if fetch else None
    if fetch is None or cache is None:
        return None
    if isinstance(cache, RemotePath):
        declared.wrong(("run", "fetch", "cache"), "it is a folder here, not in a store")
        return None
    from mirage.media.fetch import Limits
    from mirage.media.web import Web

    limits = Limits(fetch.timeout, fetch.max_bytes, fetch.redirects, fetch.retries, fetch.private)
    return Web(cache, limits, dead=fetch.dead, per_host=fetch.per_host)


def compile_inputs(declared: Declared, web: Web | None) -> Iterator[Input]:
    for number, given in enumerate(declared.config.inputs):
        select = declared.attempt(("inputs", number, "key"), compile_key, given.key)
        if select is not None:
            yield Input(
                name=given.name,
                key=given.key,
                select=select,
                image=given.type == "image",
                base=declared.folder(given.image_base_path, "inputs", number, "image_base_path"),
                default=given.default if given.given("default") else MISSING,
                required=given.required and not given.given("default"),
                web=web,
            )


def compile_engines(declared: Declared) -> dict[str, EngineSpec]:
    """The engines by name; the single `engine` is called "default"."""
    config = declared.config
    given: dict[str, tuple[Keys, EngineConfig]] = {
        name: (("engines", name), each) for name, each in config.engines.items()
    }
    if config.engine is not None:
        given[DEFAULT_ENGINE] = (("engine",), config.engine)
    specs: dict[str, EngineSpec] = {}
    for name, (path, engine) in given.items():
        backend = backend_of(engine)
        if backend not in SERVED:
            continue
        model = declared.attempt(path, identity, engine, backend, declared.loaded.folder)
        if model is not None:
            specs[name] = EngineSpec(engine, backend, model, ".".join(str(key) for key in path))
    return specs


def compile_graph(declared: Declared, steps: list[Step], many: str | None) -> Graph | None:
    try:
        return arrange(steps, many)
    except CycleError as exc:
        names = [output.name for output in declared.config.outputs]
        message = f"these outputs need each other: {exc}"
        declared.wrong(("outputs", names.index(exc.names[0])), message)
    return None


def check_columns(declared: Declared) -> None:
    """A row without the columns of a sample would be refused by a sink of samples, each of them."""
    sink = declared.config.sink
    if sink is None or sink.format not in SHAPES:
        return
    from mirage.formats.wanted import lacking

    for lack in lacking(declared.config.output_schema, sink.format):
        declared.wrong(("output_schema", *lack.column), lack.message)


def column_types(declared: Declared) -> dict[str, str]:
    """Types of the output's columns, where the configuration alone says them."""
    config, types = declared.config, dict[str, str]()
    plain = {o.name for o in config.outputs if isinstance(o, LLMOutput)} - {*declared.schemas}
    for column, leaf in config.output_schema.items():
        if not isinstance(leaf, str):
            continue
        whole = next((r for r in find_references(leaf) if r.stop - r.start == len(leaf)), None)
        if whole is None:
            if "{{" not in leaf:
                types[column] = "string"
            continue
        path = (*declared.aliases.get(str(whole.path[0]), whole.path[:1]), *whole.path[1:])
        if path[0] in plain and len(path) == 1:
            types[column] = "string"
        elif path[0] in declared.schemas and len(path) == 2:
            properties = declared.schemas[str(path[0])]["properties"]
            kind = properties.get(path[1], {}).get("type")
            if kind in ("string", "integer", "number", "boolean"):
                types[column] = kind
    return types


def fingerprint(declared: Declared, engines: Mapping[str, EngineSpec], steps: list[Step]) -> bytes:
    config = declared.config
    return digest(
        {
            "inputs": [each.model_dump(exclude={"image_base_path"}) for each in config.inputs],
            "folders": [str(declared.folder(each.image_base_path)) for each in config.inputs],
            "bases": [str(declared.folder(each.image_base_path)) for each in config.sources],
            "outputs": [each.model_dump(exclude={"timeout"}) for each in config.outputs],
            "output_schema": config.output_schema,
            "engines": {
                name: [engine.identity, sampling(engine.config.sampling, None)]
                for name, engine in engines.items()
            },
            "functions": [step.source for step in steps if isinstance(step, PythonStep)],
            "seed": config.run.seed,
            **({"dead": config.run.fetch.dead} if config.run.fetch else {}),
        }
    )


def digest(what: Any) -> bytes:
    """A 128-bit hash of plain data."""
    dumped = orjson.dumps(what, option=orjson.OPT_NON_STR_KEYS, default=str)
    return hashlib.blake2b(dumped, digest_size=16).digest()
