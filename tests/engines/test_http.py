"""What servers say when they refuse: waiting times and secrets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from mirage.engines import http as module
from mirage.engines.http import HttpClient, PassingError, Reply, Secrets, check_url
from mirage.engines.mock import Behaviour, running

from .canned import http, reply, server


def ask(url: str, *, headers: Mapping[str, str] | None = None, **options: Any) -> Reply:
    """One call, and the client closed."""

    async def main() -> Reply:
        client = HttpClient(headers or {}, connections=1, **{"timeout": 5, **options})
        try:
            return await client.post(f"{url}/chat/completions", b"{}")
        finally:
            await client.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("3", 3, 3),
        ("99999999", 3600, 3600),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("", 0, 0),
        ("soon", 0, 0),
        ("-7", 0, 0),
    ],
)
def test_how_long_to_wait(value: str, low: float, high: float) -> None:
    """Seconds or an HTTP date, at most an hour; what cannot be read is as if it were not there."""
    with server(http("429 Too Many Requests", b"", f"Retry-After: {value}\r\n")) as canned:
        reply = ask(canned.url)
    assert reply.status == 429
    assert low <= reply.retry_after <= high


def test_how_long_to_wait_until() -> None:
    """A date to come is so many seconds from now."""
    date = formatdate(time.time() + 1000, usegmt=True)
    with server(http("429 Too Many Requests", b"", f"Retry-After: {date}\r\n")) as canned:
        assert 900 <= ask(canned.url).retry_after <= 1001


@pytest.mark.parametrize("text", ["a\r\nb: c", "ü", "\0", "a\n"])
def test_what_no_header_can_hold(text: str) -> None:
    """Nothing can be smuggled into a request by way of a header."""
    for headers in ({"x": text}, {f"x{text}": "1"}):
        with pytest.raises(ValueError, match="no header can"):
            ask("http://127.0.0.1:1", headers=headers)


def test_headers_arrive() -> None:
    """As given, empty ones included; and no `Expect`, for which servers let clients wait."""
    with server(reply("yes")) as canned:
        ask(canned.url, headers={"X-One": "1", "X-None": ""})
    (call,) = canned.calls
    assert (call.headers["x-one"], call.headers["x-none"]) == ("1", "")
    assert call.headers["content-type"] == "application/json"
    assert "expect" not in call.headers


def test_a_call_that_is_given_up() -> None:
    """A cancelled call leaves the pool whole: the next one gets its own answer."""

    async def main(url: str) -> list[int]:
        client = HttpClient({}, timeout=5, connections=2)
        body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
        tasks = [asyncio.create_task(client.post(url, body)) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[2].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        done += [await client.post(url, body) for _ in range(3)]
        await client.close()
        return [reply.status for reply in done if isinstance(reply, Reply)]

    with running() as mock:
        assert asyncio.run(main(f"{mock.base_url}/chat/completions")) == [200] * 5


def test_only_known_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose certificate nobody vouches for gets no request; SSL_CERT_FILE vouches."""
    certificate = Path(__file__).with_name("localhost.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with server(reply("yes"), tls=context) as canned:
        with pytest.raises(PassingError, match="certificate") as caught:
            ask(canned.url)
        assert caught.value.kind == "connection"
        assert not canned.calls
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert ask(canned.url).status == 200


def test_redaction_comes_before_shortening() -> None:
    """A secret that straddles the limit leaves no half behind."""
    text = Secrets(("secret-key",)).redact("x" * 495 + "secret-key")
    assert "secret" not in text and len(text) <= 500


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:80",
        "ftp://a/b",
        "http://",
        "http:///v1",
        "http://a/v1?key=x",
        "http://a/#b",
        "http://u:p@w@a/v1",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    """Only http and https with a host are taken, and nothing that a path could not follow."""
    with pytest.raises(ValueError):
        check_url(url)


def test_a_process_ends_cleanly_right_after_a_call() -> None:
    """What the client leaves behind does not bring the interpreter down as it ends."""
    program = (
        "import asyncio, sys\n"
        "from mirage.engines.http import HttpClient\n"
        "async def main():\n"
        "    client = HttpClient({}, timeout=5, connections=1)\n"
        "    await client.post(sys.argv[1] + '/chat/completions', b'{}')\n"
        "    await client.close()\n"
        "asyncio.run(main())\n"
    )
    with running() as mock:
        for _ in range(5):
            command = [sys.executable, "-c", program, mock.base_url]
            ended = subprocess.run(command, capture_output=True, check=False)
            assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_host_that_takes_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for a connection ends early, and is told apart from waiting for an answer."""
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(4):  # more than its queue holds
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with pytest.raises(PassingError) as caught:
            ask(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=5)
    assert (caught.value.kind, caught.value.unreached) == ("connection", True)


def test_a_silent_answer_on_a_kept_connection() -> None:
    """A connection that was used before is no lost one when its next answer does not come."""

    async def main() -> PassingError:
        with running() as mock:
            client = HttpClient({}, connections=1, timeout=0.3)
            url = f"{mock.base_url}/chat/completions"
            await client.post(url, b"{}")
            mock.behaviour = Behaviour(hang=1)
            with pytest.raises(PassingError) as caught:
                await client.post(url, b"{}")
            await client.close()
            assert mock.stats.connections == 1
            return caught.value

    fault = asyncio.run(main())
    assert (fault.kind, fault.unreached) == ("timeout", False)
