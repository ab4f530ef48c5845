"""The configuration as typed models: the canonical keys of the dialect and nothing else.

Every model forbids unknown keys. `load.py` turns YAML text into these; `plan.py` turns them into
what runs.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

from mirage.config.data import STRICT, SinkConfig, SourceConfig
from mirage.config.fetch import FetchConfig

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


def lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def shape(value: Any) -> str:
    """Which branch of a union is meant, by the value's shape: errors then speak of that one."""
    match value:
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict() | BaseModel():
            return "a mapping"
    return "neither"


OWN = {
    "messages": "is what the prompts say",
    "model": "is `model_path`",
    "n": "is one answer for each call: more of them would be paid for, and lost",
    "stream": "is false: answers are read whole",
}
"""What the body of a call says of itself."""


def free(key: str) -> str:
    """A key that a configuration may add to the body of a call. Raises ValueError."""
    if key in OWN:
        raise ValueError(f"cannot be set here: it {OWN[key]}")
    return key


Added = dict[Annotated[str, AfterValidator(free)], Any]


class Model(BaseModel):
    model_config = STRICT

    def given(self, name: str) -> bool:
        """Whether the key stands in the configuration, null included."""
        return name in self.model_fields_set


class Sampling(Model):
    """How a model draws its answer. Further keys are passed to the engine as they are."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, defer_build=True)
    __pydantic_extra__: Added

    temperature: Annotated[float, Field(ge=0)] = 0.0
    """0 is greedy: equal requests then share one completion."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None, validation_alias=AliasChoices("max_tokens", "max_new_tokens")
    )
    """The longest answer, in tokens. `max_new_tokens` is the same."""


class EngineConfig(Model):
    """Which model answers, and how it is reached."""

    backend: Literal["openai", "sglang", "vllm", "transformers", "llamacpp", "fake"] | None = None
    """Follows from the other keys where it is not given."""
    model_path: str | None = None
    """A hub id, a folder, a GGUF file, or the name that an endpoint serves."""
    base_url: (
        Annotated[
            Annotated[str, Tag("text")] | Annotated[list[str], Tag("a list")], Discriminator(shape)
        ]
        | None
    ) = None
    """The endpoint, such as `http://127.0.0.1:30000/v1`, or a list of several; or who knows those
    that run already: `file:PATH`, `slurm:JOB:PORT`, `ray:HOST:8265/APPLICATION`.
    """
    api_key_env: Name | None = None
    """The name of the environment variable that holds the key; never the key itself."""
    headers: dict[str, str] = {}
    """Sent with every call; always redacted in what is shown or stored."""
    query: dict[str, str] = {}
    """Added to the address of every call, such as Azure's `api-version`."""
    chat_template: str | None = None
    """Inferred from the model where it is not given."""
    max_in_flight: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """The most calls under way at once; the window shrinks by itself under load."""
    timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds for one call, queueing not counted."""
    retries: Annotated[int, Field(ge=0, le=100)] = 5
    """How often a call is repeated after a passing fault (429, 5xx, a lost connection)."""
    rpm: Annotated[int, Field(ge=1)] | None = None
    """Requests per minute."""
    tpm: Annotated[int, Field(ge=1)] | None = None
    """Tokens per minute."""
    sampling: Sampling = Sampling()
    """For all outputs that do not say otherwise."""
    extra_body: Added = {}
    """Passed through in the body of every call, as it is."""
    launch: bool = False
    """`sglang` and `vllm`: start servers on this machine, and end them with the run."""
    args: dict[str, Any] = {}
    """Further arguments of the engine itself."""


class InputConfig(Model):
    """A variable that comes from the source."""

    name: Name
    key: str
    """A JMESPath expression into the row, such as `conversations[1].content`."""
    type: Literal["text", "image"] = "text"
    """`text` is any value, unchanged; `image` is an image or a list of them."""
    image_base_path: str | None = None
    default: Any = None
    """Replaces a missing value and null."""
    required: bool = True
    """With false, a missing value is null."""


def canonical_kind(value: Any) -> Any:
    """The document's own names for the kinds of output, `prompt` and `custom`, made ours."""
    return (
        {"prompt": "llm", "custom": "python"}.get(value, value) if shape(value) == "text" else value
    )


class Turn(Model):
    """One few-shot turn."""

    role: Literal["system", "user", "assistant"]
    content: str


class LLMOutput(Model):
    """A variable that a model answers."""

    name: Name
    type: Annotated[
        Literal["llm"],
        BeforeValidator(canonical_kind),
        WithJsonSchema({"enum": ["llm", "prompt"]}),
    ] = "llm"
    output_type: Annotated[
        Literal["plain", "json"],
        BeforeValidator(lower),
        WithJsonSchema({"enum": ["plain", "JSON", "json"]}),
    ] = "plain"
    """`plain` is the reply as text; `JSON` a parsed and validated object."""
    prompt: str
    """The user's turn, with references."""
    system: str | None = None
    """The system message, with references."""
    messages: list[Turn] = []
    """Few-shot turns between the system message and the prompt."""
    sampling: Sampling | None = None
    """Takes the place of the engine's, key by key."""
    engine: str | None = None
    """The name of one of `engines`."""
    images: list[Name] | None = None
    """The image inputs that go along, in order; all of them where it is not given."""
    output_schema: (
        Annotated[
            Annotated[list[str], Tag("a list")] | Annotated[dict[str, Any], Tag("a mapping")],
            Discriminator(shape),
        ]
        | None
    ) = None
    """Names, a mapping of names to types, or a full JSON Schema."""
    choices: (
        Annotated[
            Annotated[str, Tag("text")] | Annotated[list[str], Tag("a list")], Discriminator(shape)
        ]
        | None
    ) = None
    """The answers to decide among: texts with references, or a reference to a list of texts."""
    structured: Literal["constrained", "prompted", "two_pass"] = "constrained"
    format_note: bool = True
    """Whether a short note that describes the JSON is appended to the prompt."""
    many: bool = False
    """The model answers with a list of such objects, and each becomes a row."""
    max_asks: Annotated[int, Field(ge=1, le=20)] = 3
    """How often the model is asked until its reply is valid."""


class PythonOutput(Model):
    """A variable that a Python function computes, in a worker process."""

    name: Name
    type: Annotated[
        Literal["python"],
        BeforeValidator(canonical_kind),
        WithJsonSchema({"enum": ["python", "custom"]}),
    ]
    function: str
    """`package.module:function`, or the name of a function in `file`."""
    file: str | None = None
    """A Python file, relative to the configuration."""
    args: dict[str, Any] = {}
    """The function's keyword arguments, with references; all inputs by name where it is empty."""
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds for one row."""


class FilterOutput(Model):
    """A named predicate: a record for which it does not hold is dropped."""

    name: Name
    type: Literal["filter"]
    keep: str
    """A Jinja expression over the variables, such as `answer | length > 20`."""


def output_kind(value: Any) -> str:
    """Which kind of output is meant; `llm` where it does not say."""
    kind = value.get("type", "llm") if isinstance(value, dict) else getattr(value, "type", "llm")
    return kind if isinstance(kind := canonical_kind(kind), str) else ""


OutputConfig = Annotated[
    Annotated[LLMOutput, Tag("llm")]
    | Annotated[PythonOutput, Tag("python")]
    | Annotated[FilterOutput, Tag("filter")],
    Discriminator(output_kind),
]


def count_or_share(value: Any) -> str:
    return "a share" if isinstance(value, float) else "a count"


class RunConfig(Model):
    """How the run goes."""

    dir: str | None = None
    """Journals, parts and manifest; `runs/<name of the configuration>` where it is not given, and
    `runs/run-<digest>` where that has no file."""
    seed: int = 0
    """Every draw derives from it, the record's place and the output's name."""
    fetch: FetchConfig | None = None
    """Whether and how images are fetched whose value is a URL; `{}` fetches them as usual."""
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """How many processes share the run, block by block; an endpoint's limits are shared too. Where
    it is not given: one, and a second one as soon as endpoints answer faster than it can ask."""
    block_rows: Annotated[int, Field(ge=1)] | None = None
    """The most rows that are journalled and assembled together, 10,000 where it is not given. A
    run keeps the blocks that it has."""
    on_error: Literal["continue", "stop"] = "continue"
    """`stop` gives up at the first failed record."""
    max_failures: (
        Annotated[
            Annotated[int, Field(ge=0), Tag("a count")]
            | Annotated[float, Field(ge=0, le=1), Tag("a share")],
            Discriminator(count_or_share),
        ]
        | None
    ) = None
    """A float is a share of the records, judged after 100 of them; an integer is a count."""


class Config(Model):
    """One run: a dataset in, the dataset that it describes out."""

    source: (
        Annotated[
            Annotated[SourceConfig, Tag("a mapping")]
            | Annotated[list[SourceConfig], Tag("a list")],
            Discriminator(shape),
        ]
        | None
    ) = None
    engine: EngineConfig | None = None
    engines: dict[Name, EngineConfig] = {}
    """Engines by name, for outputs that say `engine: NAME`."""
    inputs: list[InputConfig]
    outputs: list[OutputConfig] = []
    """The steps; each may use the inputs and the outputs of others."""
    output_schema: dict[str, Any]
    """One row of the result: its columns, with references."""
    sink: SinkConfig | None = None
    run: RunConfig = RunConfig()

    @property
    def sources(self) -> list[SourceConfig]:
        if self.source is None:
            return []
        return self.source if isinstance(self.source, list) else [self.source]
