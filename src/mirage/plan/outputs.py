"""From the entries of `outputs` to the steps that run."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from mirage.config.engines import DEMO
from mirage.config.models import EngineConfig, FilterOutput, LLMOutput, PythonOutput, Sampling
from mirage.config.schema import many as list_schema
from mirage.engines.lettered import LETTERS
from mirage.names import suggest
from mirage.plan.declared import Declared, Keys
from mirage.recipes import load as recipe
from mirage.steps.choices import Choices, problem_of
from mirage.steps.filter import FilterStep
from mirage.steps.llm import LLMStep, Wording
from mirage.steps.python import PythonStep
from mirage.steps.reply import JSONReply, PlainReply
from mirage.steps.step import Step

DEFAULT_ENGINE = "default"
WITHOUT_CHOICES = ("output_type", "output_schema", "structured", "many", "format_note", "max_asks")
NO_ENGINE = (
    "no engine is given: add `engine:` with the `base_url` of an OpenAI-compatible endpoint or a "
    "`model_path` that ends in .gguf, or a flag: --engine openai:MODEL@http://HOST/v1, "
    "--engine llamacpp:FILE.gguf, --engine llamacpp:demo (the small models that ship with MIRAGE), "
    "--engine fake (for a trial of the configuration)"
)


class EngineSpec(Struct, frozen=True):
    """A configured engine: what starts it, and what request keys call its model.

    `path` is where it stands in the configuration; `sees` says whether it may take images.
    """

    config: EngineConfig
    backend: str
    identity: str
    path: str

    @property
    def model(self) -> str:
        """What the configuration calls it, for messages."""
        return self.config.model_path or self.backend

    @property
    def lettered(self) -> bool:
        """Whether choices are asked for by letters."""
        return self.backend == "openai" or self.config.launch

    @property
    def sees(self) -> bool:
        given = self.config
        return self.backend != "llamacpp" or "mmproj" in given.args or given.model_path == DEMO


class Outputs(Struct, frozen=True):
    """Compiles the outputs of one configuration; mistakes go to `declared`."""

    declared: Declared
    engines: Mapping[str, EngineSpec]

    def steps(self) -> Iterator[Step]:
        for number, output in enumerate(self.declared.config.outputs):
            step: Step | None
            match output:
                case LLMOutput():
                    step = self._llm(number, output)
                case PythonOutput():
                    step = self._python(number, output)
                case FilterOutput():
                    path = ("outputs", number, "keep")
                    keep = self.declared.attempt(path, self.declared.expression, output.keep)
                    step = None if keep is None else FilterStep(output.name, keep)
            if step is not None:
                yield step

    def many(self) -> str | None:
        """The name of the output whose items become rows."""
        found: str | None = None
        for number, output in enumerate(self.declared.config.outputs):
            if not isinstance(output, LLMOutput) or not output.many:
                continue
            path = ("outputs", number, "many")
            if output.output_type == "plain":
                self.declared.wrong(path, "`many` needs `output_type: JSON`")
            if found is not None:
                self.declared.wrong(path, f"only one output can be `many`, and '{found}' is")
            found = found or output.name
        return found

    # -- llm -------------------------------------------------------------------------------------

    def _llm(self, number: int, output: LLMOutput) -> LLMStep | None:
        path = ("outputs", number)
        texts: list[tuple[str, str, Keys]] = [
            (turn.role, turn.content, ("messages", n, "content"))
            for n, turn in enumerate(output.messages)
        ]
        if output.system is not None:
            texts.insert(0, ("system", output.system, ("system",)))
        texts.append(("user", output.prompt, ("prompt",)))
        turns = [
            (role, template)
            for role, text, where in texts
            if (template := self.declared.attempt((*path, *where), self.declared.text, text))
        ]
        mentioned = frozenset[str]().union(*(template.needs for _, template in turns))
        images = self._images(number, output)
        name, spec = self._engine(number, output)
        if spec is None or len(turns) < len(texts):
            return None
        blind = not spec.sees or spec.config.args.get("images") is False
        if blind and {*images, *mentioned} & {*self.declared.images}:
            message = f"it sends images, and {spec.model} takes none; `images: []` sends none"
            self.declared.wrong(path, message)
        schema = self.declared.schemas.get(output.name) if output.choices is None else None
        return LLMStep(
            name=output.name,
            engine=name,
            model=spec.identity,
            turns=tuple(turns),
            images=tuple(image for image in images if image not in mentioned),
            sampling=sampling(spec.config.sampling, output.sampling),
            seed=self.declared.config.run.seed,
            reply=reply(output, schema),
            structured=output.structured,
            max_asks=output.max_asks,
            wording=wording(output, schema),
            choices=self._choices(number, output, lettered=spec.lettered),
            sends=tuple(images),
        )

    def _choices(self, number: int, output: LLMOutput, *, lettered: bool) -> Choices | None:
        """What an output decides among; what is wrong for every record is a mistake here."""
        if output.choices is None:
            return None
        path = ("outputs", number)
        for key in WITHOUT_CHOICES:
            if output.given(key):
                message = f"`choices` asks which answer is the likeliest: remove `{key}`"
                self.declared.wrong((*path, key), message)
        tree = self.declared.attempt((*path, "choices"), self.declared.tree, output.choices)
        if isinstance(output.choices, list):
            problem = problem_of(output.choices)
            if lettered and len(output.choices) > len(LETTERS):
                problem = f"an endpoint can be asked for at most {len(LETTERS)} choices"
        else:
            named = tree is None or tree.needs
            problem = "" if named else "neither a list nor a reference to one"
        if problem:
            self.declared.wrong((*path, "choices"), problem)
        return None if tree is None else Choices(tree)

    def _images(self, number: int, output: LLMOutput) -> list[str]:
        known = self.declared.images
        for place, name in enumerate(output.images or ()):
            if name not in known:
                message = f"'{name}' is no input of `type: image`{suggest(name, known)}"
                self.declared.wrong(("outputs", number, "images", place), message)
        return known if output.images is None else output.images

    def _engine(self, number: int, output: LLMOutput) -> tuple[str, EngineSpec | None]:
        """The name of the engine that answers an output, and the engine where there is one."""
        config, path = self.declared.config, ("outputs", number, "engine")
        named = list(config.engines)
        name = output.engine or (DEFAULT_ENGINE if config.engine else "")
        if output.engine is not None and output.engine not in named:
            near = suggest(output.engine, named)
            self.declared.wrong(path, f"no engine is called '{output.engine}'{near}")
        elif not name and len(named) == 1:
            name = named[0]
        elif not name and named:
            message = f"`engine:` must name one of {', '.join(named)}"
            self.declared.wrong(path[:2], message)
        elif not name:
            self.declared.wrong((), NO_ENGINE)
        return name, self.engines.get(name)

    # -- python ----------------------------------------------------------------------------------

    def _python(self, number: int, output: PythonOutput) -> PythonStep | None:
        declared, path = self.declared, ("outputs", number)
        arguments = output.args or {
            each.name: f"{{{each.name}}}" for each in declared.config.inputs
        }
        tree = declared.attempt((*path, "args"), declared.tree, arguments)
        found = declared.attempt((*path, "function"), function, output, declared.loaded.folder)
        if tree is None or found is None:
            return None
        target, source = found
        return PythonStep(output.name, target, source, tree, output.timeout)


def sampling(engine: Sampling, output: Sampling | None) -> dict[str, Any]:
    """The engine's sampling, with the output's in its place key by key."""
    over = {} if output is None else output.model_dump(exclude_unset=True)
    merged = engine.model_dump() | over
    return {name: value for name, value in merged.items() if value is not None}


def reply(output: LLMOutput, schema: dict[str, Any] | None) -> PlainReply | JSONReply:
    if schema is None:
        return PlainReply()
    return JSONReply(list_schema(schema) if output.many else schema, many=output.many)


def wording(output: LLMOutput, schema: dict[str, Any] | None) -> Wording:
    """What the model is told about the format of its answer."""
    if schema is None:
        return Wording()
    texts = recipe("structured.yaml")
    note = texts["list" if output.many else "object"].replace("{schema}", described(schema))
    return Wording(note if output.format_note else "", texts["again"], texts["format"])


def described(schema: Mapping[str, Any]) -> str:
    """The keys of an object in words: `"score" (integer from 1 to 5: how good it is)`."""
    return ", ".join(f'"{name}" ({kind(s)})' for name, s in schema["properties"].items())


def kind(schema: Mapping[str, Any]) -> str:
    """One value's type in words."""
    words = str(schema.get("type", "any value"))
    if "enum" in schema:
        words = "one of " + ", ".join(str(choice) for choice in schema["enum"])
    elif words == "array" and isinstance(schema.get("items"), Mapping):
        words = f"list of {kind(schema['items'])}"
    elif words == "object" and schema.get("properties"):
        words = f"object with {described(schema)}"
    if "minimum" in schema or "maximum" in schema:
        low, high = schema.get("minimum"), schema.get("maximum")
        words += f" from {low}" * (low is not None) + f" to {high}" * (high is not None)
    return words + (f": {schema['description']}" if schema.get("description") else "")


def function(output: PythonOutput, folder: Path) -> tuple[str, str]:
    """A function's target, `/path/file.py:name` or `module:name`, and a hash of its file.

    Raises ValueError where there is no such file, module or name in it.
    """
    if output.file is not None:
        path = (folder / Path(output.file).expanduser()).resolve()
        target = f"{path}:{output.function}"
    else:
        target = output.function
        module, colon, _ = target.partition(":")
        if not colon:
            raise ValueError("write package.module:function, or name a `file`")
        path = module_file(module, folder)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    text = path.read_bytes()
    if path.suffix == ".py":
        look_for(target.rpartition(":")[2], text, path)
    return target, hashlib.blake2b(text, digest_size=16).hexdigest()


def look_for(name: str, text: bytes, path: Path) -> None:
    """Raise ValueError where a Python file can have no such name; the file is not run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as exc:
        raise ValueError(f"{path} is not Python: {exc}") from exc
    known: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                known.add(node.name)
            case ast.Name(ctx=ast.Store()):
                known.add(node.id)
            case ast.alias():
                known.add(node.asname or node.name)
    if name not in known and "*" not in known:
        raise ValueError(f"{path} has no '{name}'{suggest(name, known)}")


def module_file(module: str, folder: Path) -> Path:
    """Where a module stands: beside the configuration, or wherever Python finds it."""
    beside = folder.joinpath(*module.split("."))
    for path in (beside.with_suffix(".py"), beside / "__init__.py"):
        if path.is_file():
            return path.resolve()
    try:
        spec = importlib.util.find_spec(module)
    except ImportError as exc:
        raise ValueError(f"'{module}' cannot be imported: {exc}") from exc
    if spec is None or spec.origin is None:
        raise ValueError(f"there is no module '{module}'")
    return Path(spec.origin)
