"""`processors`, or `engine` and `sampling_params`: who answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from mirage.config.imported.new import New, environment
from mirage.config.imported.old import Old, Section
from mirage.names import Path

ARGS = {
    "tp_size": "tp_size",
    "tensor_parallel_size": "tp_size",
    "trust_remote_code": "trust_remote_code",
    "disable_custom_all_reduce": "disable_custom_all_reduce",
}
SGLANG = {"temperature": 1.0, "max_new_tokens": 128}
"""What SGLang's engine takes where nothing is said; it is not what we take."""
PROVIDERS = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY", "gpt-4.1-mini"),
    "anthropic": ("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "claude-haiku-4-5"),
}
ONE_BY_ONE = "calls are made one by one, each kept when it is answered"
BATCH = dict.fromkeys(
    ("max_chunk_bytes", "max_requests_per_chunk", "metadata_output_path", "batch_endpoint"),
    ONE_BY_ONE,
) | dict.fromkeys(
    ("oversized_request_policy", "completion_window", "metadata", "enabled"), ONE_BY_ONE
)
CUSTOM = {
    "max_workers": "how many processes call the function is not for the configuration",
    "start_method": "the function runs in processes of its own",
    "max_errors": "!a row whose function fails is a failed record; see `run.max_failures`",
    "max_timeouts": "!a row whose function fails is a failed record; see `run.max_failures`",
    "fallback_value": "!a row whose function fails is a failed record, and has no value",
}


class Processors(Struct):
    """Engines by the types that outputs name, and the function of `custom`. In `New.origins` each
    engine stands below `engines` and its name.
    """

    engines: dict[str, dict[str, Any]] = {}
    custom: dict[str, Any] | None = None


def processors(old: Old, top: Section, new: New) -> Processors:
    found = Processors()
    if "engine" in top.left or "sampling_params" in top.left:
        sampling, at = top.below("sampling_params"), ("engines", "llm")
        new.origins[at] = ("engine",)
        found.engines["llm"] = served(top.below("engine"), sampling, new, at)
    for path, _ in top.each("processors"):
        section = old.section(*path)
        kind = section.text("type").lower()
        if kind == "custom":
            found.custom = custom(section, new)
        elif kind in KINDS:
            at = ("engines", kind)
            new.origins[at] = path
            found.engines[kind] = KINDS[kind](section, new, at)
        else:
            old.tell(path, f"a processor of type '{kind}' has no counterpart", lost=True)
    return found


def llm(section: Section, new: New, at: Path) -> dict[str, Any]:
    """SGLang in this process; in one layout its keys stand under `local`."""
    if section.text("execution_mode") == "batch":
        section.below("local")
        engine = batch(section.below("batch"), new, at)
        section.settle({})
        return engine
    outer, inner = section, section.below("local") if "local" in section.left else section
    name = "sampling_params" if "sampling_params" in inner.left else "default_sampling_params"
    sampling = inner.below(name)
    options = inner.below("chat_template_kwargs").left
    template = inner.text("chat_template")
    engine = served(inner.below("server_args"), sampling, new, at)
    if options:
        engine.setdefault("extra_body", {}).setdefault("chat_template_kwargs", {}).update(options)
    if "{" in template or new.on_disk(template).is_file():
        engine["chat_template"] = template if "{" in template else new.path(template)
    elif template:
        inner.tell("chat_template", "the model's own template says where images stand")
    inner.settle({})
    outer.left.pop("batch", None)
    outer.settle({})
    return engine


def served(server: Section, sampling: Section, new: New, at: Path) -> dict[str, Any]:
    """An engine of SGLang."""
    model = server.text("model_path")
    local = new.on_disk(model).exists()
    engine: dict[str, Any] = {
        "backend": "sglang",
        "model_path": new.path(model) if local else environment(model),
    }
    args = {}
    for key, ours in ARGS.items():
        if key in server.left:
            args[ours] = number(server.take(key))
            new.origins[*at, "args", ours] = (*server.path, key)
    args |= server.below("extra_engine_args").left
    server.settle({})
    new.origins[*at, "model_path"] = (*server.path, "model_path")
    new.origins[*at, "sampling"] = sampling.path
    drawn, body = sampled(sampling)
    if unsaid := {key: value for key, value in SGLANG.items() if key not in drawn}:
        words = " and ".join(f"{key} {value}" for key, value in unsaid.items())
        sampling.old.tell(sampling.path, f"SGLang's own {words} is written out")
    engine["sampling"] = unsaid | drawn
    if body:
        engine["extra_body"] = body
    if args:
        engine["args"] = args
    return engine


def sampled(sampling: Section) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is drawn how, and what goes to the chat template."""
    further = sampling.below("custom_params")
    options = further.take("chat_template_kwargs", {})
    if "max_tokens" in sampling.left:
        sampling.left["max_new_tokens"] = sampling.left.pop("max_tokens")
    drawn = {key: number(value) for key, value in sampling.left.items() if value is not None}
    if further.left:
        drawn["custom_params"] = further.left
    return drawn, {"chat_template_kwargs": options} if options else {}


def batch(section: Section, new: New, at: Path) -> dict[str, Any]:
    """A provider's batches: the same requests, sent one by one."""
    provider = section.text("provider").lower() or "openai"
    if provider not in PROVIDERS:
        section.tell("provider", f"the provider '{provider}' is not known here", lost=True)
    url, key, model = PROVIDERS.get(provider, PROVIDERS["openai"])
    section.old.tell(section.path, "requests are not sent as a batch: no discount", lost=True)
    engine: dict[str, Any] = {
        "backend": "openai",
        "base_url": environment(section.text("base_url")) or url,
        "model_path": environment(section.text("model")) or model,
        "api_key_env": key,
    }
    if seconds := section.take("timeout_seconds"):
        engine["timeout"] = seconds
    drawn = {"temperature": 1.0}
    if provider == "anthropic":
        drawn["max_tokens"] = 8192
    for name in ("temperature", "top_p", "max_tokens"):
        if (value := section.take(name)) is not None:
            drawn[name] = number(value)
    section.settle(BATCH)
    return engine | {"sampling": drawn}


def endpoint(section: Section, new: New, at: Path) -> dict[str, Any]:
    """`api_llm`: an endpoint that speaks OpenAI's chat completions."""
    sampling = section.below("default_sampling_params")
    new.origins[*at, "sampling"] = sampling.path
    drawn, body = sampled(sampling)
    engine: dict[str, Any] = {
        "backend": "openai",
        "base_url": environment(section.text("base_url")) or PROVIDERS["openai"][0],
        "model_path": environment(section.text("model")),
        "api_key_env": section.text("api_key_env") or PROVIDERS["openai"][1],
        "max_in_flight": section.take("max_concurrency", 8),
        "retries": section.take("max_retries", 3),
        "sampling": {"temperature": 1.0} | drawn,
    }
    section.settle({"retry_base_delay": "pauses grow by themselves, and Retry-After is obeyed"})
    return engine | ({"extra_body": body} if body else {})


def custom(section: Section, new: New) -> dict[str, Any]:
    """The function that outputs of type `custom` call; `script` is its file as it is found now."""
    script = section.text("script_path")
    found = {
        "file": new.path(script),
        "function": section.text("function_name"),
        "timeout": seconds(section),
        "script": new.on_disk(script),
    }
    section.settle(CUSTOM)
    return found


def seconds(section: Section) -> float:
    milliseconds = number(section.take("timeout_ms", 1000))
    if not isinstance(milliseconds, int | float):
        raise section.old.wrong((*section.path, "timeout_ms"), "must be a number")
    return milliseconds / 1000


def number(value: Any) -> Any:
    """A number, where a text is one: the environment gave texts."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


KINDS: dict[str, Callable[[Section, New, Path], dict[str, Any]]] = {
    "llm": llm,
    "vision_llm": llm,
    "batch_api": batch,
    "api_llm": endpoint,
}
