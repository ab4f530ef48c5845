"""What SGLang and vLLM are told, in this process or as servers: model, arguments, template.

Everything here is known, and checked, before either of them is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec import Struct

from mirage.config.models import EngineConfig
from mirage.engines.gpu.signatures import Installed, Signatures, installed, known
from mirage.engines.weights import folder_digest, qualified
from mirage.errors import ConfigError, Mistake
from mirage.names import suggest

OWN: Mapping[str, tuple[type, ...]] = {
    "replicas": (int,),
    "python": (str,),
    "start_timeout": (int, float),
}
"""Our own arguments, for `launch` alone."""
SCALARS: Mapping[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
}
IN_FLIGHT = 256
RESERVED = {
    "host": "the server listens on the loopback alone",
    "port": "a free one is found",
    "api_key": "the server gets a random key",
    "admin_api_key": "a key on a command line can be seen by others",
    "served_model_name": "MIRAGE names the model that it serves",
    "chat_template": "give `chat_template` beside `model_path`",
}


class Kind(Struct, frozen=True):
    """One of the two engines: its package, the name of its model argument, the arguments whose
    product is the number of GPUs of one server, what others call its arguments, and the arguments
    that change nothing of an answer.
    """

    package: str
    title: str
    model: str
    sizes: tuple[str, ...]
    synonyms: Mapping[str, str]
    neutral: frozenset[str]


SGLANG = Kind(
    package="sglang",
    title="SGLang",
    model="model_path",
    sizes=("tp_size", "pp_size", "dp_size"),
    synonyms={
        "model": "model_path",
        "tensor_parallel_size": "tp_size",
        "pipeline_parallel_size": "pp_size",
        "data_parallel_size": "dp_size",
        "max_model_len": "context_length",
        "gpu_memory_utilization": "mem_fraction_static",
    },
    neutral=frozenset(
        {
            "base_gpu_id",
            "chunked_prefill_size",
            "dist_init_addr",
            "dist_timeout",
            "download_dir",
            "dp_size",
            "enable_metrics",
            "gpu_id_step",
            "log_level",
            "log_level_http",
            "log_requests",
            "max_prefill_tokens",
            "max_running_requests",
            "max_total_tokens",
            "mem_fraction_static",
            "nccl_port",
            "pp_size",
            "random_seed",
            "show_time_cost",
            "skip_server_warmup",
            "stream_interval",
            "tokenizer_worker_num",
            "tp_size",
            "trust_remote_code",
            "watchdog_timeout",
        }
    ),
)
VLLM = Kind(
    package="vllm",
    title="vLLM",
    model="model",
    sizes=("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
    synonyms={
        "model_path": "model",
        "tp_size": "tensor_parallel_size",
        "pp_size": "pipeline_parallel_size",
        "dp_size": "data_parallel_size",
        "context_length": "max_model_len",
        "mem_fraction_static": "gpu_memory_utilization",
    },
    neutral=frozenset(
        {
            "data_parallel_size",
            "disable_log_stats",
            "disable_uvicorn_access_log",
            "distributed_executor_backend",
            "download_dir",
            "enable_log_requests",
            "gpu_memory_utilization",
            "kv_cache_memory_bytes",
            "master_addr",
            "master_port",
            "max_num_batched_tokens",
            "max_num_seqs",
            "pipeline_parallel_size",
            "seed",
            "tensor_parallel_size",
            "trust_remote_code",
            "uvicorn_log_level",
        }
    ),
)
KINDS = {kind.package: kind for kind in (SGLANG, VLLM)}


class Settings(Struct, frozen=True, dict=True):
    """`model` is a folder or a hub id, `args` go to the engine as they are."""

    kind: Kind
    config: EngineConfig
    name: str
    base: Path

    @cached_property
    def model(self) -> str:
        given = self.config.model_path or ""
        folder = self.base / Path(given).expanduser()
        return str(folder) if given and folder.exists() else given

    @cached_property
    def args(self) -> dict[str, Any]:
        return {key: value for key, value in self.config.args.items() if key not in OWN}

    @cached_property
    def extra(self) -> dict[str, Any]:
        """What a call holds beside what we put there, the template's options left out."""
        extra = self.config.extra_body
        return {key: value for key, value in extra.items() if key != "chat_template_kwargs"}

    @cached_property
    def options(self) -> dict[str, Any]:
        return dict(self.config.extra_body.get("chat_template_kwargs") or {})

    @cached_property
    def at(self) -> Installed | None:
        python = self.config.args.get("python")
        return installed(self.kind.package, python if isinstance(python, str) else None)

    @cached_property
    def signatures(self) -> Signatures:
        return known(self.kind.package, self.at)

    @property
    def gpus(self) -> int:
        """How many GPUs one engine takes."""
        product = 1
        for key in self.kind.sizes:
            product *= int(self.args.get(key) or 1)
        return product

    @property
    def capacity(self) -> int:
        return self.config.max_in_flight or IN_FLIGHT


def settings(config: EngineConfig, kind: Kind, *, name: str, base: Path) -> Settings:
    """Raises ConfigError with all that is wrong."""
    given = Settings(kind, config, name, base)
    mistakes = [*_missing(given), *_wrong_args(given), *_wrong_calls(given)]
    if not config.model_path:
        mistakes.append(Mistake(f"{name}.model_path", "missing: a folder, or the id of a model"))
    elif Path(given.model).is_file():
        message = f"{given.model} is a file: a folder, or the id of a model, is needed"
        mistakes.append(Mistake(f"{name}.model_path", message))
    if config.base_url:
        message = "this backend has none: use `backend: openai` for a server that runs already"
        mistakes.append(Mistake(f"{name}.base_url", message))
    if mistakes:
        raise ConfigError(mistakes)
    return given


def model_identity(config: EngineConfig, kind: Kind, base: Path) -> str:
    """The model as request keys know it, served or in this process.

    A folder is its content, the weights sampled; a hub id is its name, with its revision among the
    arguments. All arguments count but those that are known to change nothing of an answer.
    """
    given = Settings(kind, config, "engine", base)
    folder = Path(given.model)
    model = folder_digest(folder) if given.model and folder.is_dir() else given.model
    deciding = {k: v for k, v in given.args.items() if k not in kind.neutral}
    extras = {"args": deciding, "template": config.chat_template, "body": config.extra_body}
    extras = {key: value for key, value in extras.items() if value}
    return qualified(f"{kind.package}:{model}", extras)


def _missing(given: Settings) -> Iterator[Mistake]:
    package = given.kind.package
    if given.at is not None:
        return
    if "python" in given.config.args:
        python = given.config.args["python"]
        yield Mistake(f"{given.name}.args.python", f"{python} has no {package}, or does not run")
    else:
        hint = f'needs {given.kind.title}: pip install "mirage-engine[{package}]", on a machine '
        hint += "with a GPU; or give base_url, where a server runs already"
        yield Mistake(f"{given.name}.backend", hint)


def _wrong_args(given: Settings) -> Iterator[Mistake]:
    config, signatures = given.config, given.signatures
    taken = {**signatures.arguments, **(signatures.server if config.launch else {})}
    for key, value in config.args.items():
        path = f"{given.name}.args.{key}"
        if key in OWN:
            yield from _wrong_own(path, key, value, launched=config.launch)
        elif key == given.kind.model:
            yield Mistake(path, "give it as `model_path` of the engine")
        elif key in RESERVED:
            yield Mistake(path, f"not to be given: {RESERVED[key]}")
        elif key not in taken:
            other = given.kind.synonyms.get(key)
            hint = f"; did you mean '{other}'?" if other in taken else suggest(key, taken)
            yield Mistake(path, f"not an argument of {signatures.label}{hint}")
        elif message := _wrong_value(taken[key], value):
            yield Mistake(path, message)
        elif config.launch and value is not None:
            yield from _unsayable(path, key, value, signatures)


def _wrong_own(path: str, key: str, value: Any, *, launched: bool) -> Iterator[Mistake]:
    if not launched:
        yield Mistake(path, "is for servers: add `launch: true`")
    elif not isinstance(value, OWN[key]) or isinstance(value, bool):
        yield Mistake(path, f"must be {'a text' if key == 'python' else 'a number'}")
    elif isinstance(value, int | float) and value <= 0:
        yield Mistake(path, "must be more than 0")


def _wrong_value(kind: str, value: Any) -> str:
    """What is wrong with a value, where its type is a plain one. Null is the engine's default."""
    inner = kind.removeprefix("Optional[").removesuffix("]").removesuffix(" | None")
    wanted = SCALARS.get(inner)
    if wanted is None or value is None:
        return ""
    fits = isinstance(value, wanted) and (wanted == (bool,) or not isinstance(value, bool))
    return "" if fits else f"must be a value of type {inner}, not {value!r}"


def _unsayable(path: str, key: str, value: Any, signatures: Signatures) -> Iterator[Mistake]:
    """What an engine takes, but its server's command line does not."""
    if signatures.flags.get(key) == "":
        yield Mistake(path, f"the server of {signatures.label} has no flag for it")
    elif key in signatures.on and value is False:
        yield Mistake(path, f"the server of {signatures.label} cannot turn it off")


def _wrong_calls(given: Settings) -> Iterator[Mistake]:
    """In this process, `sampling` and `extra_body` become the engine's sampling parameters."""
    if given.config.launch:
        return
    known_names = {*given.signatures.classes["SamplingParams"], "max_tokens", "seed"}
    sampling = given.config.sampling.model_extra or {}
    for where, keys in (("sampling", sampling), ("extra_body", given.extra)):
        for key in keys:
            if key not in known_names:
                message = f"not a sampling parameter of {given.signatures.label}"
                message += suggest(key, known_names)
                yield Mistake(f"{given.name}.{where}.{key}", message)
