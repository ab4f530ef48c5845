"""What servers say when they refuse: waiting times and secrets."""

from __future__ import annotations

import subprocess
import sys
import time
from email.utils import formatdate

import pytest

from mirage.engines.http import Secrets, parse_url, retry_after
from mirage.engines.mock import running


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("3", 3.0), ("0.5", 0.5), ("-7", 0.0), ("99999999", 3600.0), ("inf", 3600.0)],
)
def test_retry_after_in_seconds(value: str, seconds: float) -> None:
    """Numbers are seconds, never negative, never more than an hour."""
    assert retry_after({"retry-after": value}) == seconds


def test_retry_after_as_a_date() -> None:
    """An HTTP date is the time until then; one in the past is no wait."""
    soon = retry_after({"retry-after": formatdate(time.time() + 100, usegmt=True)})
    assert soon is not None and 95 < soon <= 100
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


@pytest.mark.parametrize("value", ["", "soon", "nan", "Wed, 99 Oct"])
def test_retry_after_that_says_nothing(value: str) -> None:
    """What cannot be read is as if it were not there."""
    assert retry_after({"retry-after": value}) is None
    assert retry_after({}) is None


def test_redaction_comes_before_shortening() -> None:
    """A secret that straddles the limit leaves no half behind."""
    text = Secrets(("secret-key",)).redact("x" * 495 + "secret-key")
    assert "secret" not in text and len(text) <= 500


@pytest.mark.parametrize("url", ["", "localhost:80", "ftp://a/b", "http://", "http:///v1"])
def test_urls_that_are_none(url: str) -> None:
    """Only http and https with a host are taken."""
    with pytest.raises(ValueError):
        parse_url(url)


def test_a_process_ends_cleanly_right_after_a_call() -> None:
    """The client's thread does not bring the interpreter down as it ends."""
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
