"""The fake engine behind HTTP: what it counts, which faults it makes, and how fast it is."""

from __future__ import annotations

import asyncio
import http.client
import socket
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from mirage.engines.mock import Behaviour, MockServer, running

from .asking import answers, ask, endpoint, request

BODY = orjson.dumps({"model": "fake", "messages": [{"role": "user", "content": "hello you"}]})


def connect(mock: MockServer) -> http.client.HTTPConnection:
    at = urlsplit(mock.base_url)
    return http.client.HTTPConnection(at.hostname or "", at.port, timeout=5)


def post(connection: http.client.HTTPConnection, body: bytes = BODY, **headers: str) -> Any:
    connection.request("POST", "/v1/chat/completions", body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def get(connection: http.client.HTTPConnection, path: str) -> Any:
    connection.request("GET", path)
    return orjson.loads(connection.getresponse().read())


def test_one_connection_serves_many_calls() -> None:
    """Keep-alive: calls, models and counters over one connection."""
    with running() as mock:
        connection = connect(mock)
        first, second = post(connection), post(connection)
        assert first == second
        assert get(connection, "/v1/models")["data"][0]["id"] == "fake"
        stats = get(connection, "/stats?prompts=1")
        assert (stats["calls"], stats["repeated"], stats["connections"]) == (2, 1, 1)
        assert list(stats["prompts"].values()) == [[2, 2]]
        assert "prompts" not in get(connection, "/stats")
        assert get(connection, "/nothing")["error"]


def test_requests_in_pieces_and_in_a_row() -> None:
    """A request may come byte by byte, and two may come at once."""
    raw = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    with running() as mock:
        at = urlsplit(mock.base_url)
        with socket.create_connection((at.hostname or "", at.port or 0), timeout=5) as raw_socket:
            for i in range(0, len(raw), 7):
                raw_socket.sendall(raw[i : i + 7])
            raw_socket.sendall(raw + raw)
            seen = b""
            while seen.count(b"HTTP/1.1 200") < 3:
                seen += raw_socket.recv(1 << 16)
    assert mock.stats.answered == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"messages": 3}',
        b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]}',
    ],
)
def test_bad_requests_are_told_so(body: bytes) -> None:
    """What is no chat request gets 400, and the connection lives on."""
    with running() as mock:
        connection = connect(mock)
        assert post(connection, body)[0] == 400
        assert post(connection)[0] == 200


def test_only_the_right_key_gets_in() -> None:
    """With a key set, any other is refused and not counted as a call."""
    with running(Behaviour(api_key="k")) as mock:
        connection = connect(mock)
        assert post(connection)[0] == 401
        assert post(connection, Authorization="Bearer wrong")[0] == 401
        assert post(connection, Authorization="Bearer k")[0] == 200
        assert (mock.stats.calls, mock.stats.refused) == (1, 2)


def test_faults_do_not_depend_on_the_order_of_arrival() -> None:
    """The same prompts meet the same faults, however many are under way at once."""

    def attempts(in_flight: int) -> list[int]:
        with running(Behaviour(share_500=0.3, share_429=0.2, seed=3)) as mock:
            engine = endpoint(mock.base_url, retries=50, max_in_flight=in_flight)
            return [c.attempts for c in answers(engine, *(request(str(i)) for i in range(40)))]

    first = attempts(1)
    assert first == attempts(16) and max(first) > 1


def test_malformed_content_is_an_answer_cut_in_half() -> None:
    """The body is whole, the text in it is not."""
    with running() as whole, running(Behaviour(malformed=1)) as broken:
        full = orjson.loads(post(connect(whole))[1])["choices"][0]["message"]["content"]
        half = orjson.loads(post(connect(broken))[1])["choices"][0]["message"]["content"]
    assert full.startswith(half) and len(half) == len(full) // 2


def test_random_answers_differ() -> None:
    """With `random`, equal calls get different answers."""
    with running(Behaviour(random=True)) as mock:
        connection = connect(mock)
        assert len({post(connection)[1] for _ in range(5)}) == 5


def test_latency_and_concurrency_are_seen() -> None:
    """Calls overlap, each takes its latency, and the most that overlapped is counted."""
    with running(Behaviour(latency=0.1)) as mock:
        engine = endpoint(mock.base_url, max_in_flight=20)
        began = time.monotonic()
        answers(engine, *(request(str(i)) for i in range(20)))
        assert 0.1 <= time.monotonic() - began < 1
        assert (mock.stats.max_in_flight, mock.stats.in_flight) == (20, 0)


def test_fast_enough_to_measure_with() -> None:
    """Well over 1,000 calls a second, client included, even on a busy machine."""
    with running() as mock:
        engine = endpoint(mock.base_url)
        began = time.monotonic()
        found = asyncio.run(ask(engine, *(request(f"question {i}") for i in range(1000))))
        assert 1000 / (time.monotonic() - began) > 1000
    assert not any(isinstance(each, BaseException) for each in found)


def test_served_until_interrupted() -> None:
    """`serve` prints where it listens, and ends cleanly on SIGINT."""
    program = "from mirage.engines.mock import *; serve(Behaviour(), port=0)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None and server.stderr is not None
        url = server.stdout.readline().split()[3].rstrip(";")
        at = urlsplit(url)
        assert post(http.client.HTTPConnection(at.hostname or "", at.port, timeout=5))[0] == 200
        server.send_signal(2)
        assert server.wait(5) == 0
        assert server.stderr.read() == ""


def test_a_taken_port_is_an_error() -> None:
    """Neither form waits for ever where it cannot listen."""
    with running() as mock:
        port = urlsplit(mock.base_url).port or 0
        with pytest.raises(OSError), running(port=port):
            pass
