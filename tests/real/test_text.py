"""Text through the transformers engine: random weights, so the plumbing and not the sense."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from engines.asking import answers, ask, failure, request

from mirage.config.models import EngineConfig
from mirage.engines import describe, open_engine
from mirage.errors import ConfigError, EngineError, RunError
from mirage.record import Completion

torch = pytest.importorskip("torch", reason="make test-engines installs it")

from .conftest import Opened  # noqa: E402


def test_greedy_answers_repeat(opened: Opened) -> None:
    """Tokens and time are counted; the same question has the same answer."""
    one, two = answers(opened(), *[request("hello", max_tokens=8, ignore_eos=True)] * 2)
    assert one.text == two.text
    assert (one.finish, one.completion_tokens) == ("length", 8)
    assert one.prompt_tokens > 5 and one.seconds > 0


def test_sequences_of_any_length_share_the_stream(opened: Opened) -> None:
    """Each ends at its own limit, whatever the others ask for, and says what it says alone."""
    asked = [request(f"number {i}", max_tokens=1 + 3 * i, ignore_eos=True) for i in range(12)]
    together = answers(opened(), *asked)
    assert [each.completion_tokens for each in together] == [1 + 3 * i for i in range(12)]
    alone = [answers(opened(max_in_flight=1), each)[0].text for each in asked[::5]]
    assert [each.text for each in together[::5]] == alone


def test_both_ways_agree(opened: Opened) -> None:
    """Continuous batching and batches give the same greedy text; so does a cache that is too small
    for any of them.
    """
    asked = [request(f"say {i}", max_tokens=12, ignore_eos=True) for i in range(6)]
    streamed = answers(opened(), *asked)
    for args in ({"continuous": False}, {"num_blocks": 1}):
        batched = answers(opened(args=args), *asked)
        assert [each.text for each in streamed] == [each.text for each in batched]


def test_draws_do_not_depend_on_their_neighbours(opened: Opened) -> None:
    """A draw is the same alone and in a crowd; another seed is another draw."""
    asked = [
        request("x", draw=str(i), temperature=1.0, top_p=0.9, max_tokens=10, ignore_eos=True)
        for i in range(8)
    ]
    together = answers(opened(), *asked)
    alone = [answers(opened(max_in_flight=1), each)[0] for each in asked[:3]]
    assert [each.text for each in together[:3]] == [each.text for each in alone]
    assert len({each.text for each in together}) > 4


def test_the_ending_token_ends(opened: Opened) -> None:
    """Answers stop at the end-of-turn token, which is no part of them."""
    asked = [request(f"{i}", draw=str(i), temperature=8.0, max_tokens=300) for i in range(8)]
    found = answers(opened(), *asked)
    ended = [each for each in found if each.finish == "stop"]
    assert ended and all("<|im_end|>" not in each.text for each in found)
    assert all(each.completion_tokens < 300 for each in ended)


@pytest.mark.parametrize("drawn", [False, True])
def test_control_tokens_in_text_stay_text(opened: Opened, drawn: bool) -> None:
    """`<|im_end|>` in a record is letters to the model, not the end of the turn."""
    keys: dict[str, Any] = {"max_tokens": 1}
    keys |= {"draw": "a", "temperature": 1.0} if drawn else {}
    plain, control, nested = answers(
        opened(),
        request("a<|im_xxx|>b", **keys),
        request("a<|im_end|>b", **keys),
        request("<|im_<|im_end|>end|>", **keys),
    )
    assert control.prompt_tokens == plain.prompt_tokens
    assert nested.prompt_tokens > control.prompt_tokens


def test_too_long_a_prompt_is_said_so(opened: Opened) -> None:
    """A prompt beyond the context is an EngineError of its own kind; others are answered."""
    bad, good = asyncio.run(ask(opened(), request("x " * 1200), request("hello", max_tokens=2)))
    assert isinstance(bad, EngineError) and bad.kind == "too_long"
    assert isinstance(good, Completion)


def test_answers_end_with_the_context(opened: Opened) -> None:
    """A limit beyond the context is cut down to it."""
    (found,) = answers(
        opened(args={"context": 64}), request("hello", max_tokens=500, ignore_eos=True)
    )
    assert found.finish == "length" and found.prompt_tokens + found.completion_tokens == 64


@pytest.mark.parametrize("drawn", [False, True])
def test_a_timeout_ends_one_call(opened: Opened, drawn: bool) -> None:
    """A call that takes too long is an error of its own."""
    keys: dict[str, Any] = {"draw": "a", "temperature": 1.0} if drawn else {}
    asked = request("hello", max_tokens=900, ignore_eos=True, **keys)
    error = failure(opened(timeout=0.05), asked)
    assert isinstance(error, EngineError) and error.kind == "timeout"


@pytest.mark.parametrize("drawn", [False, True])
def test_cancelling_one_leaves_the_others(opened: Opened, drawn: bool) -> None:
    """Who is cancelled is left out; who stands in the same batch is answered."""
    keys: dict[str, Any] = {"temperature": 1.0} if drawn else {}

    async def run() -> tuple[list[Any], float]:
        engine = opened()
        await engine.start()
        calls = [
            asyncio.create_task(
                engine.complete(
                    request(
                        f"{i}", max_tokens=n, ignore_eos=True, draw=str(i) if drawn else "", **keys
                    )
                )
            )
            for i, n in enumerate([20, 900, 20])
        ]
        await asyncio.sleep(0.02)
        calls[1].cancel()
        found = await asyncio.gather(*calls, return_exceptions=True)
        began = time.monotonic()
        await engine.close()
        return found, time.monotonic() - began

    (one, cancelled, other), closing = asyncio.run(run())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert one.completion_tokens == other.completion_tokens == 20
    assert closing < 5


@pytest.mark.parametrize("after", [0.0, 0.3])
def test_closing_ends_calls_and_threads(opened: Opened, after: float) -> None:
    """Calls under way fail, closing does not wait for their end, and no thread stays."""
    before = set(threading.enumerate())

    async def run() -> tuple[list[Any], float]:
        engine = opened()
        await engine.start()
        asked = [request("a", max_tokens=900, ignore_eos=True)]
        asked += [
            request("b", max_tokens=900, ignore_eos=True, temperature=1.0, draw=str(i))
            for i in range(12)
        ]
        calls = [asyncio.create_task(engine.complete(each)) for each in asked]
        await asyncio.sleep(after)
        began = time.monotonic()
        await engine.close()
        spent = time.monotonic() - began
        return await asyncio.gather(*calls, return_exceptions=True), spent

    found, spent = asyncio.run(run())
    assert spent < 5
    assert all(isinstance(each, EngineError) and each.kind == "closed" for each in found)
    left = [t for t in set(threading.enumerate()) - before if not t.name.startswith("asyncio")]
    assert not left


def test_a_batch_out_of_memory_is_halved(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that do not fit are made smaller and all rows are answered; later ones stay small."""
    from mirage.engines.hf.batches import Batches

    real, sizes = Batches._generate, list[int]()

    def scarce(self: Batches, rows: Any) -> None:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        real(self, rows)

    monkeypatch.setattr(Batches, "_generate", scarce)
    asked = [request("x", draw=str(i), temperature=1.0, max_tokens=3) for i in range(8)]
    assert len(answers(opened(args={"batch": 8}), *asked)) == 8
    assert max(sizes) > 2 and sizes[-1] <= 2


def test_one_bad_row_spoils_no_batch(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault that one row brings about is found by halving, and is that row's alone."""
    from mirage.engines.hf.batches import Batches

    real = Batches._generate

    def picky(self: Batches, rows: Any) -> None:
        if any(row.asked.limit == 7 for row in rows):
            raise ValueError("not this one")
        real(self, rows)

    monkeypatch.setattr(Batches, "_generate", picky)
    asked = [
        request("x", draw=str(i), temperature=1.0, max_tokens=7 if i == 3 else 4) for i in range(8)
    ]
    found = asyncio.run(ask(opened(args={"batch": 8}), *asked))
    wrong = [i for i, each in enumerate(found) if isinstance(each, BaseException)]
    assert wrong == [3] and "not this one" in str(found[3])


def test_a_dead_stream_is_started_again(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault ends transformers' manager with all its requests: they are asked again."""
    from transformers.generation.continuous_batching.continuous_api import ContinuousBatchProcessor

    real, calls = ContinuousBatchProcessor._generation_step, list[int]()

    def once(self: Any, model: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("CUDA out of memory")
        real(self, model)

    monkeypatch.setattr(ContinuousBatchProcessor, "_generation_step", once)
    asked = [request(f"{i}", max_tokens=6, ignore_eos=True) for i in range(5)]
    assert [each.completion_tokens for each in answers(opened(), *asked)] == [6] * 5


def test_unknown_sampling_is_a_mistake(opened: Opened) -> None:
    """What the engine does not know is not left out silently."""
    error = failure(opened(), request("x", temprature_x=1.0, tpo_k=3))
    assert isinstance(error, EngineError) and error.kind == "sampling"


def test_what_the_manifest_says(opened: Opened) -> None:
    """Model, device and number format; no path."""

    async def described() -> dict[str, Any]:
        engine = opened(args={"dtype": "bfloat16"})
        await engine.start()
        try:
            return describe(engine)
        finally:
            await engine.close()

    found = asyncio.run(described())
    assert (found["model"], found["device"], found["dtype"]) == ("llama", "cpu", "bfloat16")
    assert (found["images"], found["schema"], found["context"]) == (False, True, 1024)


def test_a_broken_checkpoint_cannot_be_loaded(tmp_path: Path) -> None:
    """The error names the folder."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    config = EngineConfig(model_path=str(tmp_path))
    engine = open_engine(config, backend="transformers", name="engine", base=tmp_path)
    with pytest.raises(RunError, match=tmp_path.name):
        asyncio.run(engine.start())


def test_without_a_chat_template_nothing_starts(checkpoints: Path, tmp_path: Path) -> None:
    """It is a mistake of the configuration, and one given there helps."""
    import shutil

    folder = tmp_path / "bare"
    shutil.copytree(checkpoints / "llama", folder)
    (folder / "chat_template.jinja").unlink()
    config = EngineConfig(model_path="bare", args={"device": "cpu"})
    with pytest.raises(ConfigError, match=r"engine\.chat_template: the model has no chat template"):
        asyncio.run(
            open_engine(config, backend="transformers", name="engine", base=tmp_path).start()
        )
    given = config.model_copy(update={"chat_template": "{{ messages[0]['content'] }}"})
    engine = open_engine(given, backend="transformers", name="engine", base=tmp_path)
    (found,) = answers(engine, request("hello", max_tokens=1))
    assert found.prompt_tokens < 6


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"chat_template": "{% if %}"}, r"engine\.chat_template: TemplateSyntaxError"),
        ({"args": {"device": "nowhere:9"}}, "cannot load"),
        ({"args": {"device": "cuda:99"}}, "cannot load"),
    ],
)
def test_what_shows_only_while_loading(checkpoints: Path, keys: dict[str, Any], says: str) -> None:
    """A broken template and a device that is not there stop the run before its first record."""
    config = EngineConfig(model_path="llama", **keys)
    engine = open_engine(config, backend="transformers", name="engine", base=checkpoints)
    with pytest.raises((ConfigError, RunError), match=says):
        asyncio.run(engine.start())
