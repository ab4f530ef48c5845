"""What HTTP engines share: one connection pool, and faults as the field names them.

The client is pyreqwest: measured beside aiohttp, httpx and others, it costs the least CPU per
call. Nothing else of the package touches it, so that another client can take its place here.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import orjson

from mirage.errors import AuthenticationError, EngineError

MAX_MESSAGE = 500
MAX_RAW = 10_000
MAX_RETRY_AFTER = 3600.0
PASSING = frozenset({408, 409, 425, 429})
OVERLOAD = frozenset({429, 503})
NO_HEADERS: Mapping[str, str] = {}


class PassingError(Exception):
    """A fault that may pass when the call is repeated. `load` says that there was too much."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        raw: str | None = None,
        load: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.raw = raw
        self.load = load
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Secrets:
    """What must never be shown, and the variable that the key came from."""

    values: tuple[str, ...] = ()
    variable: str | None = None

    def redact(self, text: str, limit: int = MAX_MESSAGE) -> str:
        for value in self.values:
            text = text.replace(value, "***")
        return text if len(text) <= limit else text[: limit - 1] + "…"


class HttpClient:
    """A pool of keep-alive connections to one engine's endpoints.

    Redirects are not followed, so that a key goes nowhere else; proxies are used only where
    `proxy` names one, or is "environment". `timeout` is seconds for one call, connecting included.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        *,
        timeout: float,
        connections: int,
        proxy: str | None = None,
    ) -> None:
        from pyreqwest.client import ClientBuilder
        from pyreqwest.exceptions import PyreqwestError, RequestTimeoutError
        from pyreqwest.proxy import ProxyBuilder

        _settle_at_exit()
        self._timeout_error, self._any_error = RequestTimeoutError, PyreqwestError
        self._timeout = timeout
        builder = (
            ClientBuilder()
            .follow_redirects(False)
            .referer(False)
            .user_agent("mirage")
            .timeout(timedelta(seconds=timeout))
            .pool_max_idle_per_host(connections)
            .default_headers({"Content-Type": "application/json", **headers})
        )
        if proxy != "environment":
            builder = builder.no_proxy()
            if proxy is not None:
                builder = builder.proxy(ProxyBuilder.all(proxy))
        self._client = builder.build()

    async def post(self, url: Any, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers (names in any case; none below 300) and body.

        Raises PassingError where no reply came.
        """
        try:
            response = await self._client.post(url).body_bytes(body).build().send()
            status = response.status
            headers = response.headers if status >= 300 else NO_HEADERS
            return status, headers, bytes(await response.bytes())
        except self._timeout_error:
            fault = PassingError("timeout", f"no answer within {self._timeout:g} s")
        except self._any_error as exc:
            fault = PassingError("connection", f"{_host(url)}: {_innermost(exc)}")
        raise fault  # out here, so that the client's error, which holds the URL, is not chained

    async def close(self) -> None:
        await self._client.close()


@cache
def _settle_at_exit() -> None:
    """Python 3.11 aborts when the client's thread lets go of the interpreter while it ends
    (1 exit in 10 right after a call): a moment in which that thread can finish prevents it.
    """
    atexit.register(time.sleep, 0.05)


def _host(url: Any) -> str:
    return urlsplit(str(url)).netloc.rpartition("@")[2]


def _innermost(exc: BaseException) -> str:
    """The deepest cause that the client gives: the outer ones quote the URL."""
    causes = (getattr(exc, "details", None) or {}).get("causes") or []
    return str(causes[-1]["message"]) if len(causes) > 1 else type(exc).__name__


def parse_url(url: str) -> Any:
    """A URL in the client's own form, parsed once. Raises ValueError."""
    from pyreqwest.http import Url

    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise ValueError("must start with http:// or https:// and name a host")
    return Url(url)


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, secrets: Secrets
) -> PassingError | EngineError | AuthenticationError:
    """The error that a status other than 2xx stands for."""
    message, codes = _explanation(body)
    text = secrets.redact(f"HTTP {status}: {message}" if message else f"HTTP {status}")
    if any("content_filter" in code or "content_policy" in code for code in codes):
        return EngineError("content_filter", text)
    if "context_length_exceeded" in codes:
        return EngineError("too_long", text)
    if status in (401, 403):
        key = secrets.variable
        hint = f"the key in {key} was refused" if key else "no key given: set engine.api_key_env"
        return AuthenticationError(f"{hint} ({text})")
    if status == 402 or "insufficient_quota" in codes:
        return AuthenticationError(f"the account has no credit left ({text})")
    if status in PASSING or status >= 500:
        wait = retry_after(headers)
        return PassingError(f"http_{status}", text, load=status in OVERLOAD, retry_after=wait)
    if 300 <= status < 400:
        text = f"HTTP {status}: the endpoint redirects, which is not followed; check base_url"
    return EngineError(f"http_{status}", text)


def _explanation(body: bytes) -> tuple[str, set[str]]:
    """What the server says, and the codes that it gives, in any of the usual shapes."""
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[: 4 * MAX_MESSAGE].decode(errors="replace").strip(), set()
    error = reply.get("error", reply) if isinstance(reply, dict) else reply
    if not isinstance(error, dict):
        return str(error), set()
    inner = error.get("innererror")
    codes = {error.get("code"), error.get("type"), inner.get("code") if inner else None}
    message = error.get("message") or error.get("detail") or error
    return str(message), {code for code in codes if isinstance(code, str)}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks us to wait: a number or an HTTP date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if seconds == seconds else None
