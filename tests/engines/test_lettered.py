"""Choices at an endpoint: what is asked, and what is read out of the reply."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mirage.engines.lettered import LETTERS, lettered, read_choice, together
from mirage.engines.mock import Behaviour, running
from mirage.engines.openai import OpenAIEngine
from mirage.errors import EngineError
from mirage.record import Completion

from . import canned
from .asking import answers, endpoint, failure, picture, request

THREE = ("red", "blue", "green")


def token(text: str, logprob: Any = -0.5, top: Any = ()) -> dict[str, Any]:
    told = [{"token": word, "logprob": number} for word, number in top]
    return {"token": text, "logprob": logprob, "top_logprobs": told}


def body(*tokens: Any, text: str = "B") -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"message": message, "finish_reason": "length", "logprobs": {"content": tokens}}
    return orjson.dumps({"choices": [choice]})


def read(*tokens: Any, choices: tuple[str, ...] = THREE) -> Completion:
    return read_choice(body(*tokens), 1.0, 1, choices=choices)


def test_what_is_asked() -> None:
    """The choices stand below the question, each with its letter; greedy, with the top 20."""
    asked = replace(request(picture(b"x"), "What colour?", temperature=0.7), choices=THREE)
    with canned.server(canned.http("200 OK", body(token("B", top=[("B", -0.5)])))) as server:
        (found,) = answers(endpoint(server.url), asked)
    assert (found.text, found.finish, found.logprobs) == ("blue", "stop", (None, -0.5, None))
    sent = orjson.loads(server.calls[0].body)
    assert (sent["temperature"], sent["logprobs"], sent["top_logprobs"]) == (0.0, True, 20)
    parts = sent["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["image_url", "text", "text"]
    assert parts[-1]["text"].endswith("\nA. red\nB. blue\nC. green\n")


def test_the_numbers_of_the_letters() -> None:
    """Each letter's own, of all tokens that write it together; None outside of the top."""
    found = read(token(" B", -0.7, [(" B", -0.7), ("B", -1.4), ("A", -2.0), ("Maybe", -3.0)]))
    together_ = math.log(math.exp(-0.7) + math.exp(-1.4))
    assert (found.logprobs[0], found.logprobs[2]) == (-2.0, None)
    assert found.logprobs[1] == pytest.approx(together_)
    assert found.text == "blue"


def test_marks_before_the_letter() -> None:
    """White space, quotes and stars are passed over."""
    found = read(token("\n"), token('"'), token("**"), token("C", -0.1, [("C", -0.1), ("A", -4)]))
    assert (found.text, found.logprobs) == ("green", (-4.0, None, -0.1))


def test_the_likeliest_is_the_answer() -> None:
    """Even where the model wrote another letter, as a server that draws may do."""
    assert read(token("A", -2.0, [("B", -0.2), ("A", -2.0)])).text == "blue"


@pytest.mark.parametrize("first", ["The", "D", "AB", "a", "<think>", "", 5, None])
def test_another_answer_than_a_letter(first: Any) -> None:
    """It is an error with what was said: no letter is read out of the middle of a sentence."""
    with pytest.raises(EngineError) as caught:
        read(token(first, -0.1, [("B", -3.0)]), token("?!"), token("colour"), token("B"))
    assert (caught.value.kind, caught.value.raw) == ("choices", "B")


@pytest.mark.parametrize("given", [None, {}, {"content": None}, {"content": []}, [], "x", 7])
def test_no_logprobs(given: Any) -> None:
    """A server that leaves the field out, empty or odd gives a clear error."""
    choice = {"message": {"content": "B"}, "logprobs": given}
    with pytest.raises(EngineError) as caught:
        read_choice(orjson.dumps({"choices": [choice]}), 1.0, 1, choices=THREE)
    assert caught.value.kind == "logprobs"


@pytest.mark.parametrize("number", [None, "x", -9999.0, [], {}, True])
def test_numbers_that_are_none(number: Any) -> None:
    """What is no number, or stands for none, is not told."""
    found = read(token("B", -0.1, [("B", -0.1), ("A", number)]))
    assert found.logprobs == (None, -0.1, None)


def test_more_choices_than_letters() -> None:
    """Twenty-six can be asked for; more is that record's failure, and nothing is sent."""
    many = tuple(f"choice {n}" for n in range(27))
    with running() as mock:
        error = failure(endpoint(mock.base_url), replace(request("which?"), choices=many))
        assert isinstance(error, EngineError) and error.kind == "choices"
        (found,) = answers(
            endpoint(mock.base_url), replace(request("which?"), choices=many[: len(LETTERS)])
        )
        assert sum(told is None for told in found.logprobs) == 6


def test_other_choices_are_another_question() -> None:
    """The key of a request covers its choices and their order, and the texts stay apart."""
    plain = request("which?")
    asked = [replace(plain, choices=c) for c in ((), ("a", "b"), ("b", "a"), ("a,b", "c"))]
    assert len({each.key for each in asked}) == 4
    assert asked[0].key == plain.key
    assert lettered(asked[1])[-1].text == "which?\nAnswer with the letter of one of these, and " \
        "nothing else:\nA. a\nB. b\n"  # fmt: skip


@pytest.mark.parametrize(
    ("behaviour", "tells"),
    [(Behaviour(), True), (Behaviour(ignore_logprobs=True), False)],
)
def test_the_probe(behaviour: Behaviour, tells: bool) -> None:
    """One call finds out whether an endpoint tells log-probabilities."""
    import asyncio

    async def probe(engine: Any) -> bool:
        await engine.start()
        found: bool = await engine.probe_choices()
        await engine.close()
        return found

    with running(behaviour) as mock:
        engine = endpoint(mock.base_url)
        assert isinstance(engine, OpenAIEngine)
        assert asyncio.run(probe(engine)) is tells
        assert engine.abilities.choices is tells
        assert mock.stats.calls == 1


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.integers(-(2**63), 2**63 - 1),
            st.text(),
            st.fixed_dictionaries(
                {},
                optional={
                    "token": st.one_of(st.none(), st.text(max_size=3), st.sampled_from("ABCD")),
                    "logprob": st.one_of(st.none(), st.floats(-50, 0), st.text(max_size=2)),
                    "top_logprobs": st.one_of(st.none(), st.text(), st.lists(st.none())),
                },
            ),
        )
    )
)
def test_whatever_a_server_gives(tokens: list[Any]) -> None:
    """There is an answer with its number, or an EngineError; nothing else."""
    try:
        found = read(*tokens)
    except EngineError:
        return
    assert found.text in THREE
    assert found.logprobs[THREE.index(found.text)] is not None


@given(st.floats(-700, 0), st.floats(-700, 0))
def test_sums_of_probabilities(one: float, other: float) -> None:
    """Two tokens together are at least as likely as each, and never more than certain."""
    both = together(one, other)
    assert max(one, other) <= both <= 0
    assert both == together(other, one)
