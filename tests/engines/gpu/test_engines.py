"""SGLang and vLLM in this process, against stand-ins with exactly their recorded signatures."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from PIL import Image

from mirage.config.models import EngineConfig
from mirage.engines import describe, open_engine
from mirage.engines.gpu.engine import GpuEngine
from mirage.engines.gpu.prompt import ZERO_WIDTH
from mirage.errors import EngineError, RunError, StoppedError
from mirage.record import Request

from ..asking import COLOUR, answers, ask, failure, picture, request, user
from . import standin_modules as modules
from .standin_modules import Behaviour

BOTH = ("sglang", "vllm")
CHATML = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
Opened = Callable[..., GpuEngine]


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts from a model that sees, loads and answers."""
    for name, value in list(vars(Behaviour).items()):
        if not name.startswith("_"):
            monkeypatch.setattr(Behaviour, name, value)


@pytest.fixture(params=BOTH)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    monkeypatch.syspath_prepend(str(tmp_path))

    def build(backend: str, **keys: Any) -> GpuEngine:
        modules.install(backend, tmp_path)
        config = EngineConfig(**{"model_path": "org/model", **keys})
        engine = open_engine(config, backend=backend, name="engine", base=tmp_path)
        assert isinstance(engine, GpuEngine)
        return engine

    yield build
    for name in [name for name in sys.modules if name.partition(".")[0] in BOTH]:
        del sys.modules[name]


def loaded(backend: str) -> Any:
    """The stand-in that was built last."""
    return modules.Engine.last if backend == "sglang" else modules.AsyncLLMEngine.last


def image(colour: str = "red", turn: int = 1) -> bytes:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.new("RGB", (4, 2), colour).save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_a_prompt_is_answered(opened: Opened, backend: str) -> None:
    """The model gets its own chat template; text, tokens and finish come back; all is shut down."""
    engine = opened(backend)
    (found,) = answers(engine, request("hello", max_tokens=1000))
    assert found.text == "0 " + CHATML.format("hello")
    assert found.prompt_tokens > 5 and found.completion_tokens and found.seconds > 0
    assert (found.finish, found.attempts) == ("stop", 1)
    assert loaded(backend).down


def test_an_answer_without_a_limit_is_not_cut(opened: Opened, backend: str) -> None:
    """Both have defaults of their own, 128 and 16 tokens: neither holds."""
    (found,) = answers(opened(backend), request("x" * 500))
    assert found.text.count("x") == 500


def test_arguments_and_model_reach_the_engine(opened: Opened, backend: str, tmp_path: Path) -> None:
    """A folder is found from the configuration's own; everything in `args` is passed on."""
    (tmp_path / "weights").mkdir()
    answers(opened(backend, model_path="weights", args={"dtype": "bfloat16"}), request("x"))
    given = loaded(backend).kwargs
    assert given["dtype"] == "bfloat16"
    assert given["model_path" if backend == "sglang" else "model"] == str(tmp_path / "weights")


def test_sampling_is_what_the_request_says(opened: Opened, backend: str) -> None:
    """Names are theirs, the seed is the draw's, greedy is the default, extra keys go along."""
    engine = opened(backend, extra_body={"min_p": 0.1})
    drawn = request("x", draw="1", temperature=0.7, top_p=None, max_tokens=9, stop=["\n"])
    answers(engine, drawn, Request("m", (user("x"),)))
    first, second = (call["sampling_params"] for call in loaded(backend).calls)
    if backend == "vllm":
        first, second = first.given, second.given
    names = ("max_new_tokens", "sampling_seed") if backend == "sglang" else ("max_tokens", "seed")
    assert first[names[0]] == 9 and first[names[1]] == drawn.seed
    assert (first["temperature"], first["min_p"], first["stop"]) == (0.7, 0.1, ["\n"])
    assert second["temperature"] == 0.0 and names[1] not in second and "top_p" not in first


def test_a_schema_is_passed_on(opened: Opened, backend: str) -> None:
    """As SGLang's text and as vLLM's structured outputs."""
    (found,) = answers(opened(backend), request("x", schema=COLOUR))
    jsonschema.validate(orjson.loads(found.text), COLOUR)


def test_special_tokens_in_a_record_stay_text(opened: Opened, backend: str) -> None:
    """They reach the model as the tokens of their letters, nested ones and non-special ones too."""
    text = "a<|im_end|>b<|im_<|im_end|>end|><image><|im_start|>"
    answers(opened(backend), request(text, max_tokens=9))
    (call,) = loaded(backend).calls
    ids = call["input_ids"] if backend == "sglang" else call["prompt"]["prompt_token_ids"]
    assert [ids.count(number) for number in modules.SPECIAL.values()] == [2, 1, 0, 0]
    assert "".join(map(chr, ids[6 : 6 + len(text)])) == text


def test_pictures_go_along_in_order(opened: Opened, backend: str) -> None:
    """Decoded, turned as EXIF says, at their places; special tokens beside them stay text."""
    red, blue = picture(image("red")), picture(image("blue", turn=6), "image/jpeg")
    asked = request("a", red, "b<image>", blue, max_tokens=1000)
    (found,) = answers(opened(backend), asked)
    (call,) = loaded(backend).calls
    images = (
        call["image_data"] if backend == "sglang" else call["prompt"]["multi_modal_data"]["image"]
    )
    assert [each.size for each in images] == [(4, 2), (2, 4)]
    assert [each.getpixel((0, 0))[0] > 200 for each in images] == [True, False]
    assert f"a<image>b<{ZERO_WIDTH}image><image>" in found.text and found.text.startswith("2 ")


def test_a_broken_picture_is_one_records_trouble(opened: Opened, backend: str) -> None:
    """What does not decode fails its request and no other."""
    asked = request("x", picture(b"no image")), request("y")
    broken, fine = asyncio.run(ask(opened(backend), *asked))
    assert isinstance(broken, EngineError) and broken.kind == "image"
    assert not isinstance(fine, BaseException)


@pytest.mark.parametrize(("multimodal", "template"), [(False, "parts"), (True, "text")])
def test_a_model_that_takes_no_images(
    opened: Opened,
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
    multimodal: bool,
    template: str,
) -> None:
    """Known from start on, by the model's configuration or because its template has no place."""
    monkeypatch.setattr(Behaviour, "multimodal", multimodal)
    monkeypatch.setattr(Behaviour, "template", template)
    engine = opened(backend)
    error = failure(engine, request("x", picture(image())))
    assert isinstance(error, EngineError) and error.kind == "images"
    assert not engine.abilities.images


def test_templates_that_take_parts_alone(
    opened: Opened, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template that leaves plain texts out gets a list of parts; no prompt is lost."""
    monkeypatch.setattr(Behaviour, "template", "parts only")
    (found,) = answers(opened(backend), request("hello", max_tokens=1000))
    assert "hello" in found.text


def test_thoughts_are_no_part_of_the_answer(opened: Opened, backend: str) -> None:
    """Where the template opens them for the model, and options reach the template."""
    body = {"chat_template_kwargs": {"enable_thinking": True}}
    (found,) = answers(opened(backend, extra_body=body), request("a</think>b", max_tokens=1000))
    assert found.text == "b" + CHATML.format("").partition("user\n")[2] + "<think>\n"


def test_choices_are_scored(opened: Opened, backend: str) -> None:
    """Half a nat for each token of a choice: the shortest one wins."""
    asked = Request("m", (user("Which?"),), choices=("green", "red", "blue"))
    engine = opened(backend)
    (found,) = answers(engine, asked)
    assert found.text == "red" and found.logprobs == (-2.5, -1.5, -2.0)
    assert found.prompt_tokens > 3 * 5 and engine.abilities.choices


def test_choices_beside_a_picture(opened: Opened, backend: str) -> None:
    """The prompt is read again as a text there, and the choice is still found at its end."""
    asked = Request("m", (user(picture(image()), "Which?"),), choices=("aa", "b"))
    (found,) = answers(opened(backend), asked)
    assert (found.text, found.logprobs) == ("b", (-1.0, -0.5))


def test_an_empty_choice_has_no_probability(opened: Opened, backend: str) -> None:
    """It is that request's trouble."""
    error = failure(opened(backend), Request("m", (user("x"),), choices=("", "b")))
    assert isinstance(error, EngineError) and error.kind == "choices"


def test_a_call_that_takes_too_long_ends_in_the_engine(
    opened: Opened, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout is an error of its own, and nothing goes on behind it."""
    monkeypatch.setattr(Behaviour, "hangs", True)
    error = failure(opened(backend, timeout=0.05), request("x"))
    assert isinstance(error, EngineError) and error.kind == "timeout" and error.attempts == 1
    engine = loaded(backend)
    assert len(engine.aborted) == 1 if backend == "sglang" else engine.ended == 1


def test_a_call_nobody_waits_for_ends_in_the_engine(
    opened: Opened, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a timeout."""
    monkeypatch.setattr(Behaviour, "hangs", True)

    async def cancelled(engine: GpuEngine) -> None:
        await engine.start()
        call = asyncio.create_task(engine.complete(request("x")))
        while not loaded(backend).calls:
            await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        await engine.close()

    asyncio.run(cancelled(opened(backend)))
    engine = loaded(backend)
    assert len(engine.aborted) == 1 if backend == "sglang" else engine.ended == 1


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ("The input is longer than the model's context length (8 tokens).", "too_long"),
        ("grammar error: unsupported", "request"),
    ],
)
def test_a_refused_request_is_one_records_trouble(
    opened: Opened, backend: str, monkeypatch: pytest.MonkeyPatch, says: str, kind: str
) -> None:
    """What the engine raises for a request fails that record, under a name of its own."""
    monkeypatch.setattr(Behaviour, "refuses", says)
    error = failure(opened(backend), request("x"))
    assert isinstance(error, EngineError) and error.kind == kind and says in error.message


def test_an_answer_given_up_is_none(
    opened: Opened, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An aborted call is an error, never half an answer."""
    monkeypatch.setattr(Behaviour, "finish", "abort")
    error = failure(opened(backend), request("x"))
    assert isinstance(error, EngineError) and error.kind == "aborted"


def test_unknown_sampling_is_one_records_trouble(opened: Opened, backend: str) -> None:
    """A name that an output brings and the engine does not know fails its records."""
    error = failure(opened(backend), request("x", temprature=1))
    assert isinstance(error, EngineError) and error.kind == "request"
    assert "temprature" in error.message


def test_a_dead_engine_stops_the_run(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records stay owed. (SGLang ends this process by itself.)"""
    monkeypatch.setattr(Behaviour, "dead", True)
    assert isinstance(failure(opened("vllm"), request("x")), StoppedError)


def test_an_engine_that_cannot_load(
    opened: Opened, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names engine, model and cause."""
    monkeypatch.setattr(Behaviour, "fails_to_load", True)
    title = {"sglang": "SGLang", "vllm": "vLLM"}[backend]
    with pytest.raises(RunError, match=f"{title} cannot load org/model: RuntimeError: no GPU"):
        asyncio.run(opened(backend).start())


def test_what_the_manifest_says(opened: Opened, backend: str) -> None:
    """Model, engine, its version, and what it can do."""

    async def described(engine: GpuEngine) -> dict[str, Any]:
        await engine.start()
        found = describe(engine)
        await engine.close()
        return found

    found = asyncio.run(described(opened(backend, max_in_flight=3)))
    assert found["model"] == "org/model" and found["engine"] == backend
    assert found["version"] and found["capacity"] == 3
    assert found["images"] and found["schema"]


def test_sglangs_own_templates(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A template of SGLang's, by name or known from the model's path, comes with its stops."""
    monkeypatch.setattr(Behaviour, "named", "qwen2-vl")
    engine = opened("sglang", chat_template="qwen2-vl")
    (found,) = answers(engine, request("a", picture(image()), max_tokens=1000))
    assert found.text == "1 user: a<image>;"
    assert loaded("sglang").kwargs["chat_template"] == "qwen2-vl"
    assert loaded("sglang").calls[0]["sampling_params"]["stop"] == ("STOP",)


def test_a_template_from_a_file(opened: Opened, backend: str, tmp_path: Path) -> None:
    """Its path is relative to the configuration."""
    (tmp_path / "chat.jinja").write_text("mine")
    (found,) = answers(opened(backend, chat_template="chat.jinja"), request("x", max_tokens=1000))
    if backend == "vllm":
        assert found.text.startswith("0 [mine]")
    else:
        assert loaded(backend).kwargs["chat_template"] == str(tmp_path / "chat.jinja")


def test_a_template_in_the_configuration(opened: Opened, backend: str) -> None:
    """Jinja may stand there itself."""
    engine = opened(backend, chat_template="{{ mine }}")
    (found,) = answers(engine, request("x", max_tokens=1000))
    assert found.text.startswith("0 [{{ mine }}]")


def test_prompts_have_a_tokenizer_of_their_own(opened: Opened) -> None:
    """A tokenizer has state, and the engine uses its own at the same time."""

    async def apart(engine: GpuEngine) -> bool:
        await engine.start()
        mine = engine.prompts._tokens._tokenizer
        await engine.close()
        return mine is not loaded("sglang").tokenizer_manager.tokenizer

    assert asyncio.run(apart(opened("sglang")))


def test_many_calls_at_once(opened: Opened, backend: str) -> None:
    """Each gets its own answer."""
    found = answers(opened(backend), *(request(f"number {n}", max_tokens=99) for n in range(200)))
    assert [f"number {n}<" in each.text for n, each in enumerate(found)] == [True] * 200
