"""`structured: two_pass`: a free answer first, which is kept and paid for once, then its JSON."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from mirage.engines.mock import Behaviour, MockServer, running
from mirage.errors import StoppedError
from mirage.journal import Journal
from mirage.record import Completion, Request
from mirage.session import execute

from .trial import Trial, questions, started

ROWS = questions(8)
PROMPT = """Reformat the answer in a markdown format without adding anything else:
first read {q}, then think about it, finally write it down
"""  # what the demonstration model can do: other questions may never end
OUTPUT: dict[str, Any] = {
    "name": "answer", "prompt": PROMPT, "output_type": "JSON",
    "structured": "two_pass", "output_schema": {
        "tone": {"enum": ["plain", "formal"]}, "score": {"type": "int", "min": 1, "max": 5},
    },
    "sampling": {"max_tokens": 200},
}  # fmt: skip
KEYS = {"outputs": [OUTPUT], "output_schema": {"q": "{q}", "tone": "{tone}", "score": "{score}"}}
ENGINES = {
    "fake": {"backend": "fake"},
    "llamacpp": {"backend": "llamacpp", "model_path": "demo"},
    "openai": {},
}


def made(folder: Path, backend: str, server: MockServer) -> Trial:
    if backend == "llamacpp":
        pytest.importorskip("xllamacpp")
    trial = Trial(folder, ROWS, server.base_url, **KEYS)
    if ENGINES[backend]:
        trial.config["engine"] = ENGINES[backend]
    return trial


def journalled(trial: Trial) -> list[str]:
    """The texts of all completions."""
    texts = []
    for folder in trial.run_dir.glob("blocks/*"):
        journal = Journal(folder, b"", None)
        texts += [completion.text for _, completion in journal.calls()]
        journal.release()
    return texts


def is_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False


@pytest.mark.parametrize("backend", ENGINES)
def test_the_free_answer_is_in_the_journal(tmp_path: Path, backend: str) -> None:
    """Two completions per record: what the model said freely, and the object made of it."""
    with running() as server:
        trial = made(tmp_path, backend, server)
        assert trial.run().exit_code == 0
    rows, texts = trial.output(), journalled(trial)
    assert [row["q"] for row in rows] == [row["q"] for row in ROWS]
    assert len(texts) == 16 and sum(map(is_object, texts)) >= 8
    assert all(row["tone"] in ("plain", "formal") and 1 <= row["score"] <= 5 for row in rows)


@pytest.mark.parametrize("backend", ENGINES)
def test_the_second_question_holds_the_first_answer(tmp_path: Path, backend: str) -> None:
    """The model is shown its own answer, as its own turn, and only then the schema."""
    asked: list[Request] = []
    with running() as server:
        trial = made(tmp_path, backend, server)
        job = trial.job()
        answer = job.engines["default"].complete

        async def complete(request: Request) -> Completion:
            completion = await answer(request)
            asked.append(request)
            return completion

        job.engines["default"].complete = complete  # type: ignore[method-assign]
        assert execute(job).exit_code == 0
    texts = [request.messages[0].text for request in asked]
    asked = [each for each, text in zip(asked, texts, strict=True) if "single word" not in text]
    free = {each.messages[0].text: each for each in asked if len(each.messages) == 1}
    formatted = [each for each in asked if len(each.messages) == 3]
    texts = journalled(trial)
    assert len(free) == len(formatted) == 8
    for each in formatted:
        assert [message.role for message in each.messages] == ["user", "assistant", "user"]
        assert each.schema is not None and free[each.messages[0].text].schema is None
        assert each.messages[1].text in texts
        assert '"score"' in each.messages[2].text and '"score"' not in each.messages[0].text


@pytest.mark.parametrize("backend", ENGINES)
def test_stopped_between_the_passes(tmp_path: Path, backend: str) -> None:
    """What was answered freely is not asked again."""
    with running() as server:
        trial = made(tmp_path, backend, server)
        job = trial.job()
        answer = job.engines["default"].complete

        async def complete(request: Request) -> Completion:
            if len(request.messages) == 3:
                raise StoppedError("the power is gone")
            return await answer(request)

        job.engines["default"].complete = complete  # type: ignore[method-assign]
        assert execute(job).exit_code == 4
        paid = len(journalled(trial))
        assert 1 <= paid <= 8
        summary = trial.run()
    assert (summary.exit_code, summary.usage.calls) == (0, 16 - paid)
    assert len(journalled(trial)) == 16


def test_killed_between_the_passes(tmp_path: Path) -> None:
    """`kill -9` while every second pass is under way: the next run repeats these and no other."""
    asked: Counter[tuple[str, bool]] = Counter()
    held = True

    def chat(body: bytes, key: str) -> Any:
        call = orjson.loads(body)
        second = "response_format" in call
        if b"zebra" in body:
            return answer(body, key)
        asked[call["messages"][0]["content"], second] += 1
        return (None, 0.0) if second and held else answer(body, key)

    with running(Behaviour()) as server:
        answer = server.chat
        server.chat = chat  # type: ignore[method-assign]
        trial = made(tmp_path, "openai", server)
        process = started(trial)
        deadline = time.monotonic() + 30
        while sum(second for _, second in asked) < 8:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        held = False
        summary = trial.run()
    assert (summary.exit_code, summary.usage.calls, len(trial.output())) == (0, 8, 8)
    assert {number for (_, second), number in asked.items() if not second} == {1}
    assert {number for (_, second), number in asked.items() if second} == {2}
