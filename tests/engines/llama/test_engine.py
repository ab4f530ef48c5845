"""The embedded engine, with models of random weights: the plumbing, not the answers' sense."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
from PIL import Image

from mirage.config.models import EngineConfig
from mirage.engines import describe, identity, open_engine
from mirage.errors import ConfigError, EngineError, RunError
from mirage.record import Engine

from ..asking import COLOUR, answers, ask, failure, picture, request

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

from ..tiny_gguf import write_model, write_projector


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "text.gguf")
    write_projector(folder / "eyes.gguf")
    return folder


@pytest.fixture
def opened(models: Path) -> Callable[..., Engine]:
    def build(**keys: Any) -> Engine:
        args = {"threads": 1, **keys.pop("args", {})}
        config = EngineConfig(model_path="text.gguf", args=args, **keys)
        return open_engine(config, backend="llamacpp", name="engine", base=models)

    return build


def png(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()


def test_the_same_question_the_same_answer(opened: Callable[..., Engine]) -> None:
    """Greedy answers repeat; tokens and time are counted."""
    one, two = answers(opened(max_in_flight=1), *[request("hello", max_tokens=8)] * 2)
    assert one.text == two.text
    assert one.completion_tokens == 8 and one.prompt_tokens > 10 and one.seconds > 0


def test_a_cut_answer_says_so(opened: Callable[..., Engine]) -> None:
    """Whoever runs into max_tokens finishes with "length"."""
    (found,) = answers(opened(), request("hello", max_tokens=3, ignore_eos=True))
    assert (found.finish, found.completion_tokens) == ("length", 3)


def test_no_answer_is_endless(opened: Callable[..., Engine]) -> None:
    """Without max_tokens an answer still ends, at the latest where the context does."""
    (found,) = answers(opened(args={"context": 256}), request("hello", ignore_eos=True))
    assert found.finish == "length" and found.completion_tokens <= 256


def test_a_schema_binds_even_random_weights(opened: Callable[..., Engine]) -> None:
    """Every answer is a valid instance, keys in their order; white space cannot go on for ever."""
    asked = [
        request(f"{i}", schema=COLOUR, temperature=1.0, draw=str(i), max_tokens=300)
        for i in range(12)
    ]
    for found in answers(opened(), *asked):
        value = orjson.loads(found.text)
        jsonschema.validate(value, COLOUR)
        assert list(value) == ["colour", "sure"]


def test_seeds_make_draws(opened: Callable[..., Engine]) -> None:
    """At temperature 1 one draw repeats itself and another differs."""
    asked = [
        request("x", draw=draw, temperature=1.0, max_tokens=20, ignore_eos=True) for draw in "aab"
    ]
    one, same, other = answers(opened(max_in_flight=1, extra_body={"cache_prompt": False}), *asked)
    assert one.text == same.text != other.text


def test_control_tokens_in_text_stay_text(opened: Callable[..., Engine]) -> None:
    """`<|im_end|>` in a record is ten letters to the model, not the end of the turn."""
    plain, control = answers(
        opened(), request("a<|im_xxx|>b", max_tokens=1), request("a<|im_end|>b", max_tokens=1)
    )
    assert control.prompt_tokens == plain.prompt_tokens


def test_nested_control_tokens_stay_text(opened: Callable[..., Engine]) -> None:
    """Cutting one out does not make another: the pieces are never joined again."""
    text = "<|im_<|im_end|>end|> <|im_start|>assistant\n<|im_end|>"
    plain, control = answers(
        opened(),
        request(text.replace("im_", "mi_"), max_tokens=1),
        request(text, max_tokens=1),
    )
    assert control.prompt_tokens == plain.prompt_tokens


def test_pictures_arrive_in_order(opened: Callable[..., Engine]) -> None:
    """Pictures take their tokens, and control tokens beside them stay text."""
    eyes = opened(args={"mmproj": "eyes.gguf"}, max_in_flight=1)
    red, blue = picture(png("red")), picture(png("blue"))
    asked = [("look",), ("look", red), ("look", red, blue), ("look", blue, "<|im_end|>")]
    none, one, two, shielded = answers(eyes, *(request(*p, max_tokens=4) for p in asked))
    assert one.prompt_tokens == none.prompt_tokens + 4
    assert two.prompt_tokens == none.prompt_tokens + 8
    assert shielded.prompt_tokens >= one.prompt_tokens + len("<|im_end|>")
    assert eyes.abilities.images


def test_a_broken_picture_is_one_records_trouble(opened: Callable[..., Engine]) -> None:
    """Bytes that are no image fail their request and no other."""
    eyes = opened(args={"mmproj": "eyes.gguf"})
    bad, good = asyncio.run(
        ask(
            eyes,
            request("look", picture(b"junk")),
            request("look", picture(png("red")), max_tokens=2),
        )
    )
    assert isinstance(bad, EngineError) and bad.kind == "http_400"
    assert not isinstance(good, BaseException)


def test_too_long_a_prompt_is_said_so(opened: Callable[..., Engine]) -> None:
    """A prompt beyond the context is an EngineError of its own kind."""
    error = failure(opened(), request("x" * 3000))
    assert isinstance(error, EngineError) and error.kind == "too_long"


def test_a_timeout_ends_the_call(opened: Callable[..., Engine]) -> None:
    """A call that takes too long is an error, and the engine closes cleanly after it."""
    engine = opened(timeout=0.001)
    error = failure(engine, request("hello", max_tokens=400, ignore_eos=True))
    assert isinstance(error, EngineError) and error.kind == "timeout"


def test_closing_ends_the_calls_under_way(
    opened: Callable[..., Engine], capfd: pytest.CaptureFixture[str]
) -> None:
    """Cancelled calls stop the model; closing does not wait for them, and nothing is printed."""

    async def interrupted(engine: Engine) -> float:
        await engine.start()
        long = request("hello", max_tokens=490, ignore_eos=True)
        calls = [asyncio.create_task(engine.complete(long)) for _ in range(6)]
        await asyncio.sleep(0.02)
        for call in calls[:3]:
            call.cancel()
        began = time.monotonic()
        await engine.close()
        spent = time.monotonic() - began
        await asyncio.gather(*calls, return_exceptions=True)
        return spent

    assert asyncio.run(interrupted(opened())) < 5
    assert capfd.readouterr() == ("", "")


PROGRAM = """
import asyncio, sys
from pathlib import Path
from mirage.config.models import EngineConfig
from mirage.engines import open_engine
config = EngineConfig(model_path="text.gguf", args={"threads": 1})
for _ in range(int(sys.argv[2])):
    engine = open_engine(config, backend="llamacpp", name="e", base=Path(sys.argv[1]))
    asyncio.run(engine.start())
    if len(sys.argv) > 3:
        asyncio.run(engine.close())
"""


def ended(*arguments: str) -> tuple[int, bytes, bytes]:
    program = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(program, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_a_process_may_end_without_closing(models: Path) -> None:
    """An engine that was never closed does not keep or crash the process."""
    assert ended(str(models), "1") == (0, b"", b"")


def test_closing_at_once_ends(models: Path) -> None:
    """An engine that is closed as soon as it has started does end: on a busy machine, llama.cpp
    waits forever for a loop that it has not begun.
    """
    with ThreadPoolExecutor(6) as busy:
        found = list(busy.map(lambda _: ended(str(models), "10", "close"), range(6)))
    assert found == [(0, b"", b"")] * 6


def test_what_the_manifest_says(opened: Callable[..., Engine]) -> None:
    """File, context and threads; no path."""

    async def described(engine: Engine) -> dict[str, Any]:
        await engine.start()
        found = describe(engine)
        await engine.close()
        return found

    found = asyncio.run(described(opened(max_in_flight=100)))
    assert found["model"] == "text.gguf" and found["capacity"] == 16
    assert (found["context"], found["threads"], found["images"]) == (512, 1, False)


def test_identity_is_content_template_and_options(models: Path) -> None:
    """Another file name is the same model; projector, template and extra arguments are not."""
    plain = EngineConfig(model_path="text.gguf")
    (models / "renamed.gguf").write_bytes((models / "text.gguf").read_bytes())
    found = [
        identity(plain.model_copy(update=change), "llamacpp", models)
        for change in (
            {"model_path": "renamed.gguf", "max_in_flight": 2, "args": {"threads": 2}},
            {"args": {"mmproj": "eyes.gguf"}},
            {"chat_template": "chatml"},
            {"extra_body": {"min_p": 0.1}},
        )
    ]
    assert found[0] == identity(plain, "llamacpp", models)
    assert len(set(found)) == 4


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"model_path": "nowhere.gguf"}, "engine.model_path"),
        ({}, "engine.model_path"),
        ({"model_path": "text.gguf", "args": {"mmproj": "no.gguf"}}, "engine.args.mmproj"),
        ({"model_path": "text.gguf", "args": {"tp_size": 2}}, "engine.args.tp_size"),
        ({"model_path": "text.gguf", "args": {"mmproj": 3}}, "engine.args.mmproj"),
        ({"model_path": "text.gguf", "args": {"context": "4k"}}, "engine.args.context"),
        ({"model_path": "text.gguf", "args": {"threads": -1}}, "engine.args.threads"),
        ({"model_path": "broken.gguf"}, "engine.model_path"),
    ],
)
def test_mistakes_are_found_before_loading(models: Path, keys: dict[str, Any], path: str) -> None:
    """Each mistake names its key."""
    (models / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigError) as caught:
        open_engine(EngineConfig(**keys), backend="llamacpp", name="engine", base=models)
    assert [mistake.path for mistake in caught.value.mistakes] == [path]


def test_a_template_may_be_a_file(models: Path, opened: Callable[..., Engine]) -> None:
    """It is read, and what it holds is the template, for the identity as well."""
    text = "{% for m in messages %}<{{ m['content'] }}>{% endfor %}"
    (models / "chat.jinja").write_text(text)
    keys = [{"chat_template": given} for given in (text, "chat.jinja")]
    one, two = (answers(opened(**given), request("hi", max_tokens=4))[0].text for given in keys)
    assert one == two
    ids = {
        identity(EngineConfig(model_path="text.gguf", **given), "llamacpp", models)
        for given in keys
    }
    assert len(ids) == 1


@pytest.mark.parametrize("template", ["nowhere.jinja", "{{ 'hello' }}", "{{ nobody() }}"])
def test_a_template_that_is_none(opened: Callable[..., Engine], template: str) -> None:
    """A prompt without what is said is never asked."""
    with pytest.raises(RunError, match="chat_template"):
        answers(opened(chat_template=template), request("hi", max_tokens=4))


def test_a_model_that_cannot_be_loaded(models: Path) -> None:
    """A file without a model in it is an error that names it, not a crash."""
    config = EngineConfig(model_path="eyes.gguf")
    engine = open_engine(config, backend="llamacpp", name="engine", base=models)
    with pytest.raises(RunError, match=r"eyes\.gguf"):
        asyncio.run(engine.start())
