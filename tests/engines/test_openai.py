"""Endpoints: what is sent, what is kept, which faults are repeated, and what is never shown."""

from __future__ import annotations

import asyncio
import traceback
from pathlib import Path
from typing import Any

import orjson
import pytest

from mirage.config.models import EngineConfig
from mirage.engines import describe, identity, open_engine
from mirage.engines.chat import read_completion
from mirage.engines.mock import Behaviour, running
from mirage.engines.openai import OpenAIEngine
from mirage.errors import AuthenticationError, ConfigError, EngineError, StoppedError

from . import canned
from .asking import COLOUR, answers, ask, endpoint, failure, picture, request

KEY = "sk-very-secret-0123456789"


def test_the_answer_of_the_endpoint() -> None:
    """Over HTTP the fake answers what it answers in process, pictures included."""
    asked = [
        request("text"),
        request("text", picture(b"\x00\xff" * 100_000), "more"),
        request("What colour?", schema=COLOUR),
        request("draw", draw="7", temperature=1.0),
    ]
    inside = open_engine(EngineConfig(), backend="fake", name="engine", base=Path())
    with running() as mock:
        over_http = answers(endpoint(mock.base_url), *asked)
    assert [c.text for c in over_http] == [c.text for c in answers(inside, *asked)]
    assert all(c.attempts == 1 and c.seconds > 0 and c.prompt_tokens > 0 for c in over_http)


def test_what_is_sent() -> None:
    """The body holds sampling, seed, schema and extra_body; headers and query go along."""
    with canned.server(canned.reply("yes")) as server:
        engine = endpoint(
            f"{server.url}/v1/",
            headers={"X-Team": "vision"},
            query={"api-version": "2024-10-21"},
            extra_body={"top_k": 5},
        )
        answers(engine, request("hi", schema=COLOUR, draw="d", temperature=0.5, top_p=None))
    (call,) = server.calls
    body = orjson.loads(call.body)
    assert call.path == "/v1/chat/completions?api-version=2024-10-21"
    assert call.headers["x-team"] == "vision" and "authorization" not in call.headers
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert (body["temperature"], body["top_k"], "top_p" in body) == (0.5, 5, False)
    assert body["seed"] == request("hi", schema=COLOUR, draw="d").seed
    assert body["response_format"]["json_schema"]["schema"] == COLOUR
    assert list(body["response_format"]["json_schema"]["schema"]["properties"]) == [
        "colour",
        "sure",
    ]


def test_no_seed_where_draws_are_the_same() -> None:
    """At temperature 0 no seed is sent."""
    with canned.server(canned.reply("yes")) as server:
        answers(endpoint(server.url), request("hi"))
    assert "seed" not in orjson.loads(server.calls[0].body)


@pytest.mark.parametrize(
    "faults", [{"share_500": 0.5}, {"share_429": 0.5}, {"malformed_body": 0.5}]
)
def test_passing_faults_are_repeated(faults: dict[str, Any]) -> None:
    """Half of all calls fail, yet every request is answered, and attempts are counted."""
    with running(Behaviour(seed=1, **faults)) as mock:
        engine = endpoint(mock.base_url, retries=30)
        found = answers(engine, *(request(f"question {i}") for i in range(60)))
        assert sum(c.attempts for c in found) == mock.stats.calls > 60
        assert mock.stats.answered == 60


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ({"share_500": 1}, "http_500"),
        ({"share_429": 1}, "http_429"),
        ({"malformed_body": 1}, "malformed"),
    ],
)
def test_what_does_not_pass_is_an_error(faults: dict[str, Any], kind: str) -> None:
    """After the retries the error carries its kind, its attempts and the raw reply."""
    with running(Behaviour(**faults)) as mock:
        error = failure(endpoint(mock.base_url, retries=2), request("hi"))
    assert isinstance(error, EngineError)
    assert (error.kind, error.attempts) == (kind, 3)
    assert (error.raw or "").startswith('{"id"') is (kind == "malformed")


def test_a_call_that_hangs_times_out() -> None:
    """The timeout counts for each attempt, and the error says how long it was."""
    with running(Behaviour(hang=1)) as mock:
        error = failure(endpoint(mock.base_url, timeout=0.1, retries=1), request("hi"))
    assert isinstance(error, EngineError)
    assert (error.kind, error.attempts, mock.stats.calls) == ("timeout", 2, 2)
    assert "0.1 s" in error.message


def test_queueing_is_no_timeout() -> None:
    """Twenty calls of 50 ms through a window of one take a second; none exceeds 0.5 s."""
    with running(Behaviour(latency=0.05)) as mock:
        engine = endpoint(mock.base_url, timeout=0.5, max_in_flight=1, retries=0)
        found = answers(engine, *(request(str(i)) for i in range(20)))
    assert len(found) == 20 and mock.stats.max_in_flight == 1


def test_nobody_there() -> None:
    """A refused connection is repeated; an endpoint that has never answered stops the run."""
    error = failure(endpoint("http://127.0.0.1:9/v1", retries=1), request("hi"))
    assert isinstance(error, StoppedError)
    assert "no endpoint has answered yet: Failed to connect to 127.0.0.1:9" in str(error)


def test_an_endpoint_that_goes_away() -> None:
    """Once it has answered, a connection that stays lost is the record's failure."""
    with canned.server(canned.reply("yes"), b"") as server:
        engine = endpoint(server.url, retries=1, max_in_flight=1)
        _, error = asyncio.run(ask(engine, request("hi"), request("ho")))
    assert isinstance(error, EngineError)
    assert (error.kind, error.attempts) == ("connection", 2)


def test_a_lost_connection_is_repeated() -> None:
    """A server that hangs up without a word is asked again."""
    with canned.server(b"", canned.reply("yes")) as server:
        (found,) = answers(endpoint(server.url), request("hi"))
    assert (found.text, found.attempts) == ("yes", 2)


def test_the_window_shrinks_under_load() -> None:
    """A burst of 429 narrows the window, and the calls behind it wait for Retry-After."""
    busy = canned.reply("busy", status="429 Too Many Requests", headers="Retry-After: 1\r\n")
    with canned.server(busy, canned.reply("yes")) as server:
        engine = endpoint(server.url, max_in_flight=8)
        assert isinstance(engine, OpenAIEngine)
        answers(engine, request("hi"))
    first, second = server.calls
    assert second.at - first.at >= 0.95
    assert engine._window.size == 4


def test_the_key_is_sent_and_only_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right key is accepted; a wrong one stops the run, and only its variable is named."""
    monkeypatch.setenv("MY_KEY", KEY)
    with running(Behaviour(api_key=KEY)) as mock:
        assert answers(endpoint(mock.base_url, api_key_env="MY_KEY"), request("hi"))
    with running(Behaviour(api_key="another")) as mock:
        error = failure(endpoint(mock.base_url, api_key_env="MY_KEY"), request("hi"))
    assert isinstance(error, AuthenticationError)
    assert "MY_KEY" in str(error) and "\n" not in str(error)
    assert mock.stats.calls == 0


def test_a_missing_key_is_named_before_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unset variable is an AuthenticationError at start."""
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(AuthenticationError, match="MY_KEY is not set"):
        asyncio.run(ask(endpoint("http://127.0.0.1:9/v1", api_key_env="MY_KEY")))


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "500 Oops", "200 OK"])
def test_an_echoed_key_is_never_shown(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """Whatever echoes key, header or password, no error's text, raw reply or trace holds them."""
    monkeypatch.setenv("MY_KEY", KEY)
    echo = f"you sent {KEY} and header-secret and pass-word"
    body = orjson.dumps({"error": {"message": echo}})
    with canned.server(canned.http(status, body)) as server:
        url = server.url.replace("http://", "http://user:pass-word@")
        keys = {"api_key_env": "MY_KEY", "headers": {"X-Secret": "header-secret"}, "retries": 0}
        error = failure(endpoint(url, **keys), request("hi"))
    shown = "".join(traceback.format_exception(error)) + repr(vars(error))
    for link in (error, error.__cause__, error.__context__):
        shown += repr(link)
    assert KEY not in shown and "header-secret" not in shown and "pass-word" not in shown
    assert "***" in shown


def test_redirects_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirect is an error: a key goes to the configured endpoint and nowhere else."""
    monkeypatch.setenv("MY_KEY", KEY)
    with canned.server(canned.reply("stolen")) as other:
        away = canned.reply("", status="307 Moved", headers=f"Location: {other.url}\r\n")
        with canned.server(away) as server:
            error = failure(endpoint(server.url, api_key_env="MY_KEY"), request("hi"))
    assert isinstance(error, EngineError) and error.kind == "http_307"
    assert other.calls == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY does not lead calls astray, unless `proxy: environment` asks for it."""
    with (
        canned.server(canned.reply("proxy")) as proxy,
        canned.server(canned.reply("direct")) as own,
    ):
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert answers(endpoint(own.url), request("hi"))[0].text == "direct"
        asked = endpoint(own.url, args={"proxy": "environment"})
        assert answers(asked, request("hi"))[0].text == "proxy"


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        ("400 Bad Request", {"message": "no such model"}, "http_400"),
        ("404 Not Found", {"message": "x" * 9000}, "http_404"),
        ("422 Unprocessable", "just text", "http_422"),
        ("400 Bad Request", {"message": "policy", "code": "content_filter"}, "content_filter"),
        ("400 Bad Request", {"code": "context_length_exceeded", "message": "long"}, "too_long"),
    ],
)
def test_refusals_are_not_repeated(status: str, error: Any, kind: str) -> None:
    """One attempt, the server's own words, shortened to 500 characters."""
    with canned.server(canned.http(status, orjson.dumps({"error": error}))) as server:
        found = failure(endpoint(server.url), request("hi"))
    assert isinstance(found, EngineError)
    assert (found.kind, found.attempts, len(server.calls)) == (kind, 1, 1)
    assert len(found.message) <= 500


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("403 Forbidden", {"message": "no"}),
        ("402 Payment Required", {"message": "pay"}),
        ("429 Too Many Requests", {"message": "quota", "code": "insufficient_quota"}),
    ],
)
def test_what_no_call_can_survive_stops_the_run(status: str, error: Any) -> None:
    """A forbidden model or an empty account is an AuthenticationError, at the first call."""
    with canned.server(canned.http(status, orjson.dumps({"error": error}))) as server:
        found = failure(endpoint(server.url), request("hi"))
    assert isinstance(found, AuthenticationError) and len(server.calls) == 1


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ({"message": {"content": "bad"}, "finish_reason": "content_filter"}, "content_filter"),
        ({"message": {"content": None, "refusal": "I will not"}}, "refusal"),
    ],
)
def test_a_declined_answer_is_the_records_outcome(choice: Any, kind: str) -> None:
    """A filtered answer or a refusal is an EngineError that keeps what was said."""
    with pytest.raises(EngineError) as caught:
        read_completion(orjson.dumps({"choices": [choice]}))
    assert caught.value.kind == kind and caught.value.raw


def test_what_is_kept_of_a_reply() -> None:
    """Text, finish and tokens; missing counts are 0; parts are joined; a cut reply may be empty."""
    full = {"choices": [{"message": {"content": "x"}, "finish_reason": "length"}]}
    full["usage"] = {"prompt_tokens": 3, "completion_tokens": None}  # type: ignore[assignment]
    kept = read_completion(orjson.dumps(full))
    assert (kept.text, kept.finish, kept.prompt_tokens) == ("x", "length", 3)
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert (
        read_completion(orjson.dumps({"choices": [{"message": {"content": parts}}]})).text == "ab"
    )
    cut = {"choices": [{"message": {"content": None}, "finish_reason": "length"}]}
    assert read_completion(orjson.dumps(cut)).text == ""


@pytest.mark.parametrize("count", ["7", 7.5, -1, 2**63, [7], {"n": 7}, True, None])
def test_counts_that_are_none(count: Any) -> None:
    """What an endpoint gives as a number of tokens, or as a reason, never reaches the journal as
    anything else.
    """
    reply: dict[str, Any] = {"choices": [{"message": {"content": "x"}, "finish_reason": [count]}]}
    reply["usage"] = {"prompt_tokens": count, "completion_tokens": count}
    kept = read_completion(orjson.dumps(reply))
    assert (kept.prompt_tokens, kept.completion_tokens) == (0, 0)
    assert isinstance(kept.finish, str)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"null",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b"\xff",
        b"{} {}",
    ],
)
def test_other_replies_are_malformed(reply: bytes) -> None:
    """What is not a chat completion is an error of kind "malformed", never a blank."""
    with canned.server(canned.http("200 OK", reply)) as server:
        error = failure(endpoint(server.url, retries=0), request("hi"))
    assert isinstance(error, EngineError) and error.kind == "malformed"


@pytest.mark.parametrize("ignored", [False, True])
def test_the_probe_tells_whether_a_schema_binds(ignored: bool) -> None:
    """An endpoint that ignores the schema is found out with two calls, another one needs one."""

    async def probe(engine: OpenAIEngine) -> bool:
        await engine.start()
        bites = await engine.probe_schema()
        await engine.close()
        return bites

    with running(Behaviour(ignore_schema=ignored)) as mock:
        engine = endpoint(mock.base_url)
        assert isinstance(engine, OpenAIEngine)
        assert asyncio.run(probe(engine)) is not ignored
        assert engine.abilities.schema is not ignored
        assert mock.stats.calls == (2 if ignored else 1)


def test_a_dead_endpoint_among_several() -> None:
    """Calls go on at the endpoint that answers; the dead one is not asked each time."""
    with running() as mock:
        engine = endpoint([mock.base_url, "http://127.0.0.1:9/v1"], retries=3)  # type: ignore[arg-type]
        found = answers(engine, *(request(str(i)) for i in range(20)))
    assert len(found) == 20 and sum(c.attempts for c in found) < 40


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"model_path": "m", "base_url": "localhost:8000"}, "engine.base_url"),
        ({"model_path": "m", "base_url": "file:///etc/passwd"}, "engine.base_url"),
        ({"model_path": "m"}, "engine.base_url"),
        ({"base_url": "http://x/v1"}, "engine.model_path"),
        (
            {"model_path": "m", "base_url": "http://x", "args": {"tp_size": 4}},
            "engine.args.tp_size",
        ),
        ({"model_path": "m", "base_url": "http://x", "chat_template": "q"}, "engine.chat_template"),
        ({"model_path": "m", "base_url": "http://x/v1?key=secret"}, "engine.base_url"),
        ({"model_path": "m", "base_url": "http://x", "headers": {"a b": "c"}}, "engine.headers"),
    ],
)
def test_mistakes_are_found_without_a_call(keys: dict[str, Any], path: str) -> None:
    """Each mistake in the configuration names its key."""
    with pytest.raises(ConfigError) as caught:
        open_engine(EngineConfig(**keys), backend="openai", name="engine", base=Path())
    assert [mistake.path for mistake in caught.value.mistakes] == [path]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_pixels", -1),
        ("max_images", "two"),
        ("max_bytes", True),
        ("images", "no"),
        ("outage", "long"),
        ("proxy", 3),
    ],
)
def test_arguments_have_types(key: str, value: Any) -> None:
    """What is none of an argument's values is found without a call."""
    given = EngineConfig(model_path="m", base_url="http://x/v1", args={key: value})
    with pytest.raises(ConfigError, match=rf"engine\.args\.{key}: must be"):
        open_engine(given, backend="openai", name="engine", base=Path())


def test_identity_and_manifest_hold_no_address_secrets() -> None:
    """URLs and keys are no part of the identity, extra_body is; a manifest shows no password."""
    plain = EngineConfig(model_path="m", base_url="http://user:pass-word@a/v1", api_key_env="K")
    moved = plain.model_copy(update={"base_url": "http://b/v1", "api_key_env": "L"})
    other = plain.model_copy(update={"extra_body": {"reasoning_effort": "high"}})
    assert identity(plain, "openai") == identity(moved, "openai") == "m"
    assert identity(other, "openai") != "m"
    engine = open_engine(plain, backend="openai", name="engine", base=Path())
    assert describe(engine)["endpoints"] == ["http://a/v1"]
