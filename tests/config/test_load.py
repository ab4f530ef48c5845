"""The whole way from YAML text to a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mirage.config import Loaded, engine_flag, load_config, parse_config
from mirage.config.data import SourceConfig
from mirage.config.models import EngineConfig, LLMOutput
from mirage.errors import ConfigError
from mirage.note import flagged

SEED = Path(__file__).parent / "seed"
FLAGS: dict[str, Any] = {
    "source": {"path": "in.jsonl"},
    "sink": {"path": "out.jsonl"},
    "engine": engine_flag("llamacpp:demo"),
}
MINIMAL = "inputs: []\noutput_schema:\n  a: b\n"


def mistakes(text: str, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "x.yaml", **options)
    return [str(mistake) for mistake in caught.value.mistakes]


def test_the_first_configuration_of_the_document_loads_as_written() -> None:
    """Unquoted `{user_prompt}` is a reference, and flags fill in what the document leaves out."""
    config = load_config(SEED / "reformat.yaml", overrides=FLAGS).config
    assert [(entry.name, entry.key) for entry in config.inputs] == [
        ("assistant_answer", "conversations[1].content"),
        ("user_prompt", "conversations[0].content"),
        ("modalities", "modalities"),
    ]
    assert isinstance(config.outputs[0], LLMOutput)
    assert config.outputs[0].prompt.endswith("anything else:\n{assistant_answer}\n")
    assert config.output_schema == {
        "conversations": [
            {"role": "user", "content": "{user_prompt}"},
            {"role": "assistant", "content": "{formatted_answer}"},
        ],
        "modalities": "{modalities}",
    }
    assert config.sources == [SourceConfig(path="in.jsonl")]
    assert config.engine == EngineConfig(backend="llamacpp", model_path="demo")


def test_the_second_configuration_of_the_document_loads_as_written() -> None:
    """`type: prompt` and `output_type: JSON` are normalised; the order of the keys is kept."""
    config = load_config(SEED / "transform.yaml", overrides=FLAGS).config
    output = config.outputs[0]
    assert isinstance(output, LLMOutput)
    assert (output.type, output.output_type) == ("llm", "json")
    assert output.output_schema == ["question", "explanation", "answer"]
    turns = config.output_schema["conversations"]
    assert turns[1]["content"] == "{explanation}\nAnswer: {answer}\n"


def test_the_third_configuration_of_the_document_loads_as_written() -> None:
    """Its own engine stays where no flag names another."""
    config = load_config(str(SEED / "caption.yaml")).config
    assert config.engine is not None
    assert config.engine.model_path == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert config.inputs[0].type == "image"
    assert config.inputs[0].image_base_path == "/path/to/images"
    assert config.output_schema["image"] == "{medical_image}"


def test_all_mistakes_are_reported_at_once_each_at_its_place() -> None:
    """Unknown keys, bad choices, missing keys and wrong types, in the order of the lines."""
    text = (
        "inputs:\n  - nam: x\n    key: y\n"
        "outputs:\n  - {name: a, type: lm, prompt: p}\n  - {name: b, promt: p}\n  - 7\n"
        "output_schema: [a]\n"
        "engine:\n  backend: opnai\n  max_in_flight: 0\n  base_url: 5\n"
        "run: {max_failures: 1.5}\nsnk: 3\n"
    )
    choices = "must be one of llm, prompt, python, custom, filter, not 'lm'"
    assert mistakes(text) == [
        "x.yaml:2:5: inputs[0].name: is required",
        "x.yaml:2:5: inputs[0].nam: unknown key; did you mean 'name'?",
        f"x.yaml:5:21: outputs[0].type: {choices}; did you mean 'llm'?",
        "x.yaml:6:5: outputs[1].prompt: is required",
        "x.yaml:6:15: outputs[1].promt: unknown key; did you mean 'prompt'?",
        "x.yaml:7:5: outputs[2]: must be a mapping of keys, not a number",
        "x.yaml:8:16: output_schema: must be a mapping of keys, not a list",
        "x.yaml:10:12: engine.backend: must be one of openai, sglang, vllm, transformers, "
        "llamacpp, fake, not 'opnai'; did you mean 'openai'?",
        "x.yaml:11:18: engine.max_in_flight: must be greater than or equal to 1",
        "x.yaml:12:13: engine.base_url: must be text or a list",
        "x.yaml:13:21: run.max_failures: must be less than or equal to 1",
        "x.yaml:14:1: snk: unknown key; did you mean 'sink'?",
    ]


def test_an_argument_of_the_engine_is_sent_to_its_place() -> None:
    """Those who know SGLang write `tp_size` beside `model_path`: the message says where it goes."""
    hint = "unknown key; an argument of the engine itself stands under `args`"
    one = mistakes(MINIMAL + "engine: {model_path: m, tp_size: 4}\n")
    named = mistakes(MINIMAL + "engines: {judge: {model_path: m, tp_size: 4}}\n")
    assert [each.partition(": ")[2] for each in one + named] == [
        f"engine.tp_size: {hint}",
        f"engines.judge.tp_size: {hint}",
    ]


def test_a_secret_is_never_repeated_in_a_message() -> None:
    """A key where the name of a variable belongs is refused without being shown."""
    found = mistakes(MINIMAL + "engine: {api_key_env: sk-123, api_key: sk-456}\n")
    assert len(found) == 2
    assert not any("sk-" in message for message in found)


def test_a_count_is_not_a_share() -> None:
    """`max_failures: 1` is one record, `1.0` is all of them."""
    for written, value in (("1", 1), ("1.0", 1.0), ("0.1", 0.1)):
        config = parse_config(f"{MINIMAL}run: {{max_failures: {written}}}\n").config
        assert config.run.max_failures == value
        assert type(config.run.max_failures) is type(value)


def test_flags_are_merged_before_validation() -> None:
    """A flag's keys take the place of the file's; the rest of the section stays."""
    text = MINIMAL + "source: {path: a, id: sid, limit: 9}\nrun: {seed: 4}\n"
    loaded = parse_config(text, overrides={"source": {"limit": 2}, "run": {"dir": "r"}})
    assert loaded.config.sources == [SourceConfig(path="a", id="sid", limit=2)]
    assert (loaded.config.run.dir, loaded.config.run.seed) == ("r", 4)
    assert loaded.document["source"] == {"path": "a", "id": "sid", "limit": 2}


def test_flags_and_a_list_of_sources() -> None:
    """A path takes the place of the list; a limit goes to each of the list."""
    text = MINIMAL + "source:\n  - path: a\n  - path: b\n"
    limited = parse_config(text, overrides={"source": {"limit": 2}}).config
    assert [(one.path, one.limit) for one in limited.sources] == [("a", 2), ("b", 2)]
    assert [one.path for one in parse_config(text, overrides=FLAGS).config.sources] == ["in.jsonl"]


def test_an_engine_from_a_flag_inherits_no_credentials() -> None:
    """Sampling stays; key, headers and endpoint belonged to the other engine."""
    text = MINIMAL + (
        "engine:\n  base_url: https://one/v1\n  api_key_env: KEY\n  headers: {X: y}\n"
        "  sampling: {temperature: 0.5}\n  timeout: 5\n"
    )
    flag = engine_flag("openai:m@http://two/v1")
    engine = parse_config(text, overrides={"engine": flag}).config.engine
    assert engine is not None
    assert (engine.base_url, engine.api_key_env, engine.headers) == ("http://two/v1", None, {})
    assert (engine.sampling.temperature, engine.timeout) == (0.5, 5)


def test_an_engine_from_a_flag_takes_the_place_of_all() -> None:
    """A rehearsal sends nothing to an engine that is named in the file; sampling stays by name."""
    text = MINIMAL + (
        "engines:\n  one: {model_path: a, base_url: https://one/v1, sampling: {temperature: 0.5}}\n"
        "  two: {model_path: b, base_url: https://two/v1, api_key_env: KEY}\n"
    )
    loaded = parse_config(text, overrides={"engine": {"backend": "fake"}})
    engines = loaded.config.engines
    assert [engines[name].backend for name in ("one", "two")] == ["fake", "fake"]
    assert [engines[name].base_url for name in ("one", "two")] == [None, None]
    assert (engines["one"].sampling.temperature, engines["two"].api_key_env) == (0.5, None)
    assert loaded.position(("engines", "two")) == loaded.position(("engine",)) == (0, 0)
    assert flagged(loaded) == {"engine": {"backend": "fake"}}


def test_a_mistake_in_a_flag_has_no_line() -> None:
    """What the file does not say is not blamed on it."""
    found = mistakes(MINIMAL, overrides={"source": {"path": "a", "limit": 0}})
    assert found == ["source.limit: must be greater than or equal to 1"]


def test_an_unset_variable_is_reported_once_with_its_line() -> None:
    """The value that could not be expanded is not judged as well."""
    found = mistakes(MINIMAL + "source:\n  path: a\n  limit: ${NOT_SET_ANYWHERE}\n")
    assert found == [
        "x.yaml:6:10: source.limit: the variable NOT_SET_ANYWHERE is not set and has no default"
    ]


def test_a_flag_takes_the_place_of_an_unset_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a flag replaces is not expanded, nor is what the flag itself says."""
    monkeypatch.delenv("NOT_SET_ANYWHERE", raising=False)
    text = MINIMAL + "source:\n  path: ${NOT_SET_ANYWHERE}\n"
    config = parse_config(text, overrides={"source": {"path": "$$a"}}).config
    assert config.sources[0].path == "$$a"


def loaded_with_prompt() -> Loaded:
    return parse_config(
        "inputs: []\noutputs:\n  - name: a\n    prompt: |\n      one\n      two {x}\n"
        'output_schema:\n  t: "{y}"\n  u: see {z}\n',
        "x.yaml",
        overrides={"sink": {"path": "o"}},
    )


def test_what_a_call_says_of_itself() -> None:
    """No configuration takes the place of the prompts, or has answers made that nobody reads."""
    text = MINIMAL + (
        "engine:\n  sampling: {top_k: 3, n: 4}\n"
        "  extra_body:\n    min_p: 0.1\n    messages: []\n"
        "outputs:\n  - {name: a, prompt: b, sampling: {stream: true}}\n"
    )
    assert [mistake.partition(": it ")[0] for mistake in mistakes(text)] == [
        "x.yaml:5:27: engine.sampling.n: cannot be set here",
        "x.yaml:8:5: engine.extra_body.messages: cannot be set here",
        "x.yaml:10:45: outputs[0].sampling.stream: cannot be set here",
    ]


@pytest.mark.parametrize(
    ("path", "offset", "place"),
    [
        (("outputs", 0, "prompt"), 8, "x.yaml:6:11: outputs[0].prompt: m"),
        (("output_schema", "t"), 0, "x.yaml:8:6: output_schema.t: m"),
        (("output_schema", "t"), 1, "x.yaml:8:8: output_schema.t: m"),
        (("output_schema", "u"), 4, "x.yaml:9:10: output_schema.u: m"),
        (("outputs", 0, "system"), 0, "x.yaml:3:5: outputs[0].system: m"),
        (("outputs", 9), 3, "x.yaml:3:3: outputs[9]: m"),
        (("sink", "path"), 0, "sink.path: m"),
    ],
)
def test_the_plan_places_its_own_mistakes(
    path: tuple[str | int, ...], offset: int, place: str
) -> None:
    """An offset into a template becomes a line and a column of the file."""
    assert str(loaded_with_prompt().mistake(path, "m", offset)) == place


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    """No such file, a folder, and bytes that are no UTF-8 text are told apart."""
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    for name, says in (("no.yaml", "No such file"), ("", "directory"), ("latin.yaml", "UTF-8")):
        with pytest.raises(ConfigError, match=says):
            load_config(tmp_path / name)


def test_relative_paths_have_a_folder(tmp_path: Path) -> None:
    """A byte-order mark is no part of the text, and the folder is the file's own."""
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    loaded = load_config(tmp_path / "a.yaml")
    assert loaded.folder == tmp_path
    assert load_config(MINIMAL).folder == Path()
